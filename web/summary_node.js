/**
 * The body of Show Summary: the table that the node's last execution gave.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself, the others
 * only export.
 */

import { app } from "../../scripts/app.js";
import { createSummaryView } from "./summary_view.js";
import { loadTranslator } from "./translator.js";

const NODE_ID = "WattBenchShowSummary";
const OUTPUT = "wattbench_summary";
const WIDGET = "summary";
const START_SIZE_PX = [560, 200];
const MIN_HEIGHT_PX = 110;
const MAX_GROWN_HEIGHT_PX = 640;
const MARGIN_PX = 10;

const translate = await loadTranslator("summary");

/**
 * @param {any} node Of any type.
 * @returns {import("./summary_view.js").SummaryView | undefined}
 */
function viewOf(node) {
  if (node.type !== NODE_ID) return undefined;
  return node.widgets?.find((/** @type {any} */ widget) => widget.name === WIDGET)?.view;
}

/**
 * The key under which ComfyUI keeps a node's output: its id, within a subgraph after the graph's.
 *
 * @param {any} node
 * @returns {string}
 */
function outputKey(node) {
  return node.graph.isRootGraph ? `${node.id}` : `${node.graph.id}:${node.id}`;
}

/**
 * Show the output that ComfyUI holds for a node, which outlives the node itself when the workflow
 * is configured anew.
 *
 * @param {any} node
 */
function showKeptOutput(node) {
  const output = app.nodeOutputs?.[outputKey(node)]?.[OUTPUT];
  if (output) viewOf(node)?.show(output[0]);
}

/**
 * Make room for the whole table, up to a limit; what is larger scrolls. A node never shrinks.
 *
 * @param {any} node
 * @param {import("./summary_view.js").SummaryView} view
 */
function growToFit(node, view) {
  const [width, height] = node.size;
  const around = node.computeSize()[1] - MIN_HEIGHT_PX + 2 * MARGIN_PX;
  const needed = around + view.heightAt(width - 2 * MARGIN_PX);
  const grown = Math.max(height, Math.min(needed, MAX_GROWN_HEIGHT_PX));
  if (grown > height) node.setSize([width, grown]);
  node.graph?.setDirtyCanvas(true, true);
}

/** @param {any} node A fresh node of this type, not yet configured from a workflow. */
function addView(node) {
  const view = createSummaryView(translate);
  // Nodes 2.0 mounts an element once per graph, node id, name and type. A workflow that is loaded
  // again has the first three in common with its predecessor, so the type makes the difference.
  const type = `${OUTPUT}_${Math.random()}`;
  const widget = node.addDOMWidget(WIDGET, type, view.element, {
    serialize: false,
    hideOnZoom: false,
    margin: MARGIN_PX,
    getMinHeight: () => MIN_HEIGHT_PX,
  });
  widget.serialize = false;
  widget.view = view;
  node.setSize([
    Math.max(node.size[0], START_SIZE_PX[0]),
    Math.max(node.size[1], START_SIZE_PX[1]),
  ]);
}

/**
 * Call `after` when the node type's own handler `name` has run.
 *
 * @param {any} nodeType
 * @param {string} name
 * @param {(node: any, ...args: any[]) => void} after
 */
function chain(nodeType, name, after) {
  const previous = nodeType.prototype[name];
  nodeType.prototype[name] = function (/** @type {any[]} */ ...args) {
    const result = previous?.apply(this, args);
    after(this, ...args);
    return result;
  };
}

function addStyleSheet() {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = new URL("summary.css", import.meta.url).href;
  document.head.append(link);
}

app.registerExtension({
  name: "WattBench.Summary",

  init() {
    addStyleSheet();
  },

  /** @param {any} nodeType @param {{name: string}} nodeData */
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name !== NODE_ID) return;
    chain(nodeType, "onNodeCreated", addView);
    chain(nodeType, "onExecuted", (node, output) => {
      const view = viewOf(node);
      if (!view || !output?.[OUTPUT]) return;
      view.show(output[OUTPUT][0]);
      growToFit(node, view);
    });
  },

  /** ComfyUI put back the outputs: after undo, a change of tabs, or a look at a past job. */
  onNodeOutputsUpdated() {
    for (const graph of [app.rootGraph, ...app.rootGraph.subgraphs.values()]) {
      for (const node of graph.nodes) {
        if (node.type === NODE_ID) showKeptOutput(node);
      }
    }
  },
});
