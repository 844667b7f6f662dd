/**
 * What each node of a graph cost: the body of Watch Graph, and badges on the nodes.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addStyleSheet } from "./dom.js";
import { resultNode } from "./result_node.js";
import { language, loadTranslator } from "./translator.js";
import { createBadges } from "./watch_badges.js";
import { renderCost } from "./watch_view.js";

const EVENT = "wattbench_watch";
const ROUTE = "/wattbench/watch";
const EVERY_SETTING = "WattBench.Watch.EveryPrompt";
const BADGES_SETTING = "WattBench.Watch.Badges";

const translate = await loadTranslator("watch");
const badges = createBadges(translate, language);

let isReady = false;

/** @type {import("./watch_view.js").GraphCost | null} Of the last prompt, until the next one starts. */
let lastCost = null;

/** @type {import("./watch_view.js").GraphCost[]} Of this page's runs, latest first. */
let seenCosts = [];

const MOST_SEEN = 20;

/** @param {import("./watch_view.js").GraphCost} cost @returns What its workflow cost before. */
function previousOf(cost) {
  const place = seenCosts.findIndex(({ prompt_id }) => prompt_id === cost.prompt_id);
  return seenCosts.slice(place + 1).find(({ workflow_id }) => workflow_id === cost.workflow_id);
}

/** @param {import("./watch_view.js").GraphCost} cost */
function render(cost) {
  if (!seenCosts.some(({ prompt_id }) => prompt_id === cost.prompt_id)) {
    seenCosts = [cost, ...seenCosts].slice(0, MOST_SEEN);
  }
  return renderCost(cost, translate, language(), previousOf(cost));
}

/** @param {string} id */
const isOn = (id) => app.extensionManager.setting.get(id) === true;

/** The prompt may be that of another workflow than the one on the canvas, when tabs are changed. */
function showBadges() {
  if (isOn(BADGES_SETTING) && lastCost?.workflow_id === app.rootGraph.id) {
    badges.show(app, lastCost);
  } else {
    badges.clear();
  }
}

/** @param {import("./watch_view.js").GraphCost | null} cost */
function takeCost(cost) {
  lastCost = cost;
  showBadges();
}

/** @param {boolean} every_prompt */
function tellServer(every_prompt) {
  return api.fetchApi(ROUTE, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ every_prompt }),
  });
}

/**
 * Follow a changed setting. Badges need every prompt to be watched.
 *
 * @param {boolean} isEvery
 * @param {boolean} areBadgesOn
 */
function apply(isEvery, areBadgesOn) {
  if (!isReady) return;
  tellServer(isEvery || areBadgesOn);
  if (!areBadgesOn) badges.clear();
}

/**
 * A server that was restarted has forgotten. It is not told to stop: another page may want it, so
 * only a change of the setting switches it off.
 */
function remindServer() {
  if (isOn(EVERY_SETTING) || isOn(BADGES_SETTING)) tellServer(true);
}

app.registerExtension({
  name: "WattBench.Watch",

  settings: [
    {
      id: EVERY_SETTING,
      category: ["WattBench", "Watch", "EveryPrompt"],
      name: "Measure every node of every prompt, and add it to nodes.csv",
      type: "boolean",
      defaultValue: false,
      // The setting itself changes after this call.
      onChange: (/** @type {boolean} */ value) => apply(value, isOn(BADGES_SETTING)),
    },
    {
      id: BADGES_SETTING,
      category: ["WattBench", "Watch", "Badges"],
      name: "Show time, energy and VRAM on each node after a run",
      type: "boolean",
      defaultValue: false,
      onChange: (/** @type {boolean} */ value) => apply(isOn(EVERY_SETTING), value),
    },
  ],

  setup() {
    addStyleSheet("watch.css");
    isReady = true;
    document.body.append(badges.element);
    api.addEventListener(EVENT, (/** @type {CustomEvent} */ { detail }) => takeCost(detail));
    api.addEventListener("execution_start", () => takeCost(null));
    api.addEventListener("reconnected", remindServer);
    remindServer();
  },

  ...resultNode({
    nodeId: "WattBenchWatchGraph",
    output: EVENT,
    className: "wattbench-watch",
    empty: () => translate("empty"),
    render,
  }),
});

app.registerExtension({
  name: "WattBench.Watch.Badges",

  /** Nodes are made anew when a workflow is configured: another one, or after undo. */
  afterConfigureGraph: showBadges,
});
