/** What each node cost, on the node, in both node renderers, and as a list for screen readers. */

import { make } from "./dom.js";
import * as format from "./format.js";
import { pathTo } from "./graph.js";

/**
 * @typedef {import("./watch_view.js").GraphCost} GraphCost
 * @typedef {import("./watch_view.js").NodeCost} NodeCost
 *
 * @typedef {object} Badges
 * @property {HTMLElement} element The list.
 * @property {(app: any, cost: GraphCost) => void} show Replace all badges.
 * @property {() => void} clear Remove all badges.
 */

/**
 * How badges look on the canvas, and the class of their elements in Nodes 2.0, which has the same
 * colours in watch.css: a contrast above 7 on their own ground, whatever the palette.
 *
 * @typedef {{fgColor: string, bgColor: string, className: string}} Look
 */

/** @type {Look} */
const COST = { fgColor: "#ffffff", bgColor: "#1f3a5f", className: "wattbench-node-badge" };

/**
 * @param {import("./translator.js").Translator} translate
 * @param {() => string} language
 * @returns {Badges}
 */
export function createBadges(translate, language) {
  const list = make("ul", "");
  const element = make("section", "wattbench-unseen", list);
  let remove = () => {};

  function clear() {
    remove();
    remove = () => {};
    list.replaceChildren();
  }

  return {
    element,
    clear,
    show(app, cost) {
      clear();
      element.setAttribute("aria-label", translate("badges"));
      const texts = byNode(app.rootGraph, cost.nodes)
        .map(({ node, costs }) => ({ node, text: textOf(costs, translate, language()) }))
        .filter(({ text }) => text);
      list.append(
        ...texts.map(({ node, text }) => make("li", "", `${node.title} #${node.id}: ${text}`)),
      );
      remove = putBadges(app, texts, COST);
    },
  };
}

/**
 * Put a badge on each of some nodes, by the renderer that is in use.
 *
 * @param {any} app
 * @param {{node: any, text: string, title?: string}[]} texts
 * @param {Look} look
 * @returns {() => void} Takes them away.
 */
export function putBadges(app, texts, look) {
  // @ts-ignore ComfyUI puts LiteGraph on the window.
  const isVue = window.LiteGraph.vueNodesMode;
  return isVue ? putOnElements(app, texts, look) : putOnCanvas(texts, look);
}

/**
 * LiteGraph's own badges.
 *
 * @param {{node: any, text: string}[]} texts
 * @param {Look} look
 */
function putOnCanvas(texts, { fgColor, bgColor }) {
  const shown = texts.map(({ node, text }) => {
    // @ts-ignore ComfyUI puts LiteGraph's classes on the window.
    const badge = new window.LGraphBadge({ text, fgColor, bgColor });
    node.badges.push(badge);
    node.graph?.setDirtyCanvas(true, true);
    return { node, badge };
  });
  return () => {
    for (const { node, badge } of shown) {
      node.badges = node.badges.filter((/** @type {any} */ other) => other !== badge);
      node.graph?.setDirtyCanvas(true, true);
    }
  };
}

/**
 * Nodes 2.0 shows the badges that a node had when it was mounted, and no later ones, so these are
 * elements within the nodes' own. They are put back when nodes are mounted again, as on a way into
 * a subgraph and back.
 *
 * @param {any} app
 * @param {{node: any, text: string, title?: string}[]} texts
 * @param {Look} look
 */
function putOnElements(app, texts, { className }) {
  const pane = document.querySelector("[data-testid=transform-pane]");
  if (!pane) return () => {};

  function put() {
    for (const { node, text, title } of texts) {
      if (node.graph !== app.canvas.graph) continue;
      const element = pane?.querySelector(`[data-node-id="${node.id}"]`);
      if (!element || element.querySelector(`:scope > .${className}`)) continue;
      const badge = make("div", className, text);
      badge.title = title ?? "";
      // The list has it already, with the node's name.
      badge.setAttribute("aria-hidden", "true");
      element.append(badge);
    }
  }

  const observer = new MutationObserver(put);
  observer.observe(pane, { childList: true });
  put();
  return () => {
    observer.disconnect();
    for (const badge of pane.querySelectorAll(`.${className}`)) badge.remove();
  };
}

/**
 * The nodes of the canvas, each with the costs of all that it stands for: its own, that of the
 * nodes it made, and, for a subgraph, that of the nodes in it.
 *
 * @param {any} rootGraph
 * @param {NodeCost[]} costs
 */
function byNode(rootGraph, costs) {
  /** @type {Map<any, NodeCost[]>} */
  const found = new Map();
  for (const cost of costs) {
    for (const node of pathTo(rootGraph, cost.display_id)) {
      found.set(node, [...(found.get(node) ?? []), cost]);
    }
  }
  return [...found].map(([node, costs]) => ({ node, costs }));
}

/**
 * @param {NodeCost[]} costs
 * @param {import("./translator.js").Translator} translate
 * @param {string} language
 * @returns {string} Empty where there is nothing to say.
 */
function textOf(costs, translate, language) {
  const ran = costs.filter(({ time_s }) => time_s !== null);
  const parts = [];
  if (costs.some(({ state }) => state === "failed")) parts.push(translate("failed"));
  else if (!ran.length && costs.some(({ state }) => state === "cached")) {
    parts.push(translate("cached"));
  }
  if (ran.length) {
    const time_s = ran.reduce((sum, cost) => sum + Number(cost.time_s), 0);
    parts.push(format.seconds(language, time_s));
  }
  const joules = ran.flatMap(({ energy_j }) => (energy_j === null ? [] : [energy_j]));
  if (joules.length) {
    const isWhole = joules.length === ran.length;
    const energy_j = joules.reduce((sum, value) => sum + value, 0);
    const energy = format.energy(language, energy_j, null);
    parts.push(isWhole ? energy : `${translate("at_least")} ${energy}`);
  }
  const bytes = ran.flatMap(({ peak_vram_bytes }) => peak_vram_bytes ?? []);
  if (bytes.length) parts.push(format.memory(language, Math.max(...bytes)));
  return parts.join(" · ");
}
