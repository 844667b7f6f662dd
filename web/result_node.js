/** A node whose body shows what its last execution gave. */

import { app } from "../../scripts/app.js";

const WIDGET = "result";
const START_SIZE_PX = [560, 200];
const MIN_HEIGHT_PX = 110;
const MAX_GROWN_HEIGHT_PX = 860;
const MARGIN_PX = 10;

/**
 * @typedef {object} ResultView
 * @property {HTMLElement} element The widget.
 * @property {(result: any) => void} show Replace what is shown.
 *
 * @typedef {object} ResultNode
 * @property {string} nodeId The type of the node.
 * @property {string} output The key of its output; the first item there is the result.
 * @property {() => ResultView} createView Called once for each node.
 */

/**
 * The hooks of an extension for nodes of one type.
 *
 * @param {ResultNode} options
 */
export function resultNode({ nodeId, output, createView }) {
  /** @param {any} node Of any type. @returns {ResultView | undefined} */
  function viewOf(node) {
    if (node.type !== nodeId) return undefined;
    return node.widgets?.find((/** @type {any} */ widget) => widget.name === WIDGET)?.view;
  }

  return {
    /** @param {any} nodeType @param {{name: string}} nodeData */
    beforeRegisterNodeDef(nodeType, nodeData) {
      if (nodeData.name !== nodeId) return;
      chain(nodeType, "onNodeCreated", (node) => addView(node, output, createView()));
      chain(nodeType, "onExecuted", (node, outputs) => {
        const view = viewOf(node);
        if (!view || !outputs?.[output]) return;
        view.show(outputs[output][0]);
        growToFit(node, view.element);
      });
    },

    /**
     * ComfyUI put back the outputs: after undo, a change of tabs, or a look at a past job. They
     * outlive the nodes themselves, which are made anew when a workflow is configured.
     */
    onNodeOutputsUpdated() {
      for (const graph of [app.rootGraph, ...app.rootGraph.subgraphs.values()]) {
        for (const node of graph.nodes) {
          const kept = node.type === nodeId && app.nodeOutputs?.[outputKey(node)]?.[output];
          if (kept) viewOf(node)?.show(kept[0]);
        }
      }
    },
  };
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
 * Make room for all of the view, up to a limit; what is larger scrolls. A node never shrinks.
 *
 * @param {any} node
 * @param {HTMLElement} element
 */
function growToFit(node, element) {
  const [width, height] = node.size;
  const around = node.computeSize()[1] - MIN_HEIGHT_PX + 2 * MARGIN_PX;
  const needed = around + heightAt(element, width - 2 * MARGIN_PX);
  const grown = Math.max(height, Math.min(needed, MAX_GROWN_HEIGHT_PX));
  if (grown > height) node.setSize([width, grown]);
  node.graph?.setDirtyCanvas(true, true);
}

/** @param {HTMLElement} element @param {number} widthPx */
function heightAt(element, widthPx) {
  const probe = document.createElement("div");
  probe.className = "wattbench-probe";
  probe.append(element.cloneNode(true));
  probe.style.width = `${widthPx}px`;
  document.body.append(probe);
  const height = Math.ceil(probe.getBoundingClientRect().height);
  probe.remove();
  return height;
}

/**
 * @param {any} node A fresh node, not yet configured from a workflow.
 * @param {string} output
 * @param {ResultView} view
 */
function addView(node, output, view) {
  // Nodes 2.0 mounts an element once per graph, node id, name and type. A workflow that is loaded
  // again has the first three in common with its predecessor, so the type makes the difference.
  const type = `${output}_${Math.random()}`;
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
