/**
 * A badge on each node whose kernel or format was not what ran.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addStyleSheet, make } from "./dom.js";
import { pathTo } from "./graph.js";
import { loadTranslator } from "./translator.js";
import { putBadges } from "./watch_badges.js";

const EVENT = "wattbench_fallback";

/** @type {import("./watch_badges.js").Look} */
const LOOK = { fgColor: "#ffffff", bgColor: "#7a2e0e", className: "wattbench-fallback-badge" };

const translate = await loadTranslator("fallback");
const list = make("ul", "");
const region = make("section", "wattbench-unseen", list);

/** @type {Map<string, string[]>} What the running prompt, or the last one, said; by node. */
const told = new Map();

let remove = () => {};

function show() {
  remove();
  const texts = [...told].flatMap(([id, reasons]) => {
    const node = pathTo(app.rootGraph, id).at(-1);
    // A model from ComfyUI's cache may have been chosen by a node of another workflow.
    if (!node?.type.startsWith("WattBench")) return [];
    const title = reasons.map(translate).join("; ");
    return [{ node, text: `⚠ ${translate(reasons[0].split(": ")[0])}`, title }];
  });
  remove = putBadges(app, texts, LOOK);
  list.replaceChildren(
    ...texts.map(({ node, title }) => make("li", "", `${node.title} #${node.id}: ${title}`)),
  );
}

app.registerExtension({
  name: "WattBench.Fallback",

  setup() {
    addStyleSheet("watch.css");
    region.setAttribute("aria-label", translate("label"));
    document.body.append(region);
    api.addEventListener("execution_start", () => {
      told.clear();
      show();
    });
    api.addEventListener(EVENT, (/** @type {CustomEvent} */ { detail }) => {
      told.set(detail.node_id, detail.texts);
      show();
    });
  },

  /** Nodes are made anew when a workflow is configured: another one, or after undo. */
  afterConfigureGraph: show,
});
