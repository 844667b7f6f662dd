/** A node whose body shows what its last execution gave. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addStyleSheet, createButton, make } from "./dom.js";
import * as format from "./format.js";
import { allNodes, pathTo } from "./graph.js";
import { pastJobs } from "./history.js";
import { language, loadTranslator } from "./translator.js";

const WIDGET = "result";
const START_SIZE_PX = [560, 200];
const MIN_HEIGHT_PX = 110;

/** Of a body that holds a few lines of text. */
export const SMALL = { startSizePx: [380, 150], minHeightPx: 74 };
const MAX_GROWN_HEIGHT_PX = 900;
const MARGIN_PX = 10;

/** Nodes 2.0 needs a little more around a widget than LiteGraph says. */
const SLACK_PX = 6;

/** In a kept output: when the past job ended that it was restored from. */
const RESTORED = "wattbench_restored_ms";

const translate = await loadTranslator();

/**
 * @typedef {object} ResultNode
 * @property {string} nodeId The type of the node.
 * @property {string} output The key of its output; the first item there is the result.
 * @property {string} className Of the element around the result.
 * @property {() => string} empty What stands there before there is a result.
 * @property {(result: any) => HTMLElement[]} render
 * @property {(promptId: string) => Promise<{label: string, result: any} | undefined>} [leftOf]
 *   What is left of a prompt that was cancelled or failed, to be shown on demand.
 * @property {number[]} [startSizePx] Width and height of a new node.
 * @property {number} [minHeightPx] Of the body.
 */

/**
 * The hooks of an extension for nodes of one type.
 *
 * @param {ResultNode} options
 */
export function resultNode({
  nodeId,
  output,
  className,
  empty,
  render,
  leftOf,
  startSizePx = START_SIZE_PX,
  minHeightPx = MIN_HEIGHT_PX,
}) {
  /** @param {any} node @param {HTMLElement} element */
  const grow = (node, element) => growToFit(node, element, minHeightPx);

  /** A result that is still to come is empty. @param {Record<string, any> | undefined} outputs */
  const hasResult = (outputs) => Object.keys(outputs?.[output]?.[0] ?? {}).length > 0;

  /** @param {any} node @returns {HTMLElement | undefined} */
  const bodyOf = (node) =>
    node.widgets?.find((/** @type {any} */ widget) => widget.name === WIDGET)?.element.firstChild;

  const ownNodes = () => allNodes(app.rootGraph).filter((node) => node.type === nodeId);

  /** @param {any} node */
  const keptOutputs = (node) => {
    const outputs = app.nodeOutputs?.[outputKey(node)];
    return hasResult(outputs) ? outputs : undefined;
  };

  /** @param {any} node @param {Record<string, any>} outputs */
  function show(node, outputs) {
    const origin = outputs[RESTORED] ? [createOrigin(new Date(outputs[RESTORED]))] : [];
    bodyOf(node)?.replaceChildren(...origin, ...render(outputs[output][0]));
  }

  /** @param {any} node @param {Record<string, any>} outputs */
  function showAndGrow(node, outputs) {
    show(node, outputs);
    const body = bodyOf(node);
    if (body?.parentElement) grow(node, body.parentElement);
  }

  /** Fill nodes that have nothing to show from the workflow's past jobs, as after a reload. */
  async function restore() {
    const isWaiting = () => ownNodes().some((node) => !keptOutputs(node));
    if (!isWaiting()) return;
    const { rootGraph } = app;
    const workflowId = rootGraph.id;
    for await (const { ended_ms, outputs } of pastJobs(workflowId)) {
      if (rootGraph.id !== workflowId || !isWaiting()) return;
      for (const [id, past] of Object.entries(outputs)) {
        const node = hasResult(past) && pathTo(rootGraph, id).at(-1);
        if (!node || node.type !== nodeId || keptOutputs(node)) continue;
        app.nodeOutputs[outputKey(node)] = { ...past, [RESTORED]: ended_ms };
        showAndGrow(node, keptOutputs(node));
      }
    }
  }

  /** @param {CustomEvent} event Of a prompt that did not come to its end. */
  async function offerWhatIsLeft({ detail }) {
    const left = await leftOf?.(detail.prompt_id);
    if (!left) return;
    for (const node of ownNodes()) {
      const button = createButton(left.label, () => {
        app.nodeOutputs[outputKey(node)] = { [output]: [left.result] };
        showAndGrow(node, keptOutputs(node));
      });
      button.classList.add("wattbench-left");
      const body = bodyOf(node);
      body?.querySelector(".wattbench-left")?.remove();
      body?.prepend(button);
    }
  }

  return {
    init() {
      addStyleSheet("result.css");
      if (!leftOf) return;
      for (const event of ["execution_interrupted", "execution_error"]) {
        api.addEventListener(event, offerWhatIsLeft);
      }
    },

    /** @param {any} nodeType @param {{name: string}} nodeData */
    beforeRegisterNodeDef(nodeType, nodeData) {
      if (nodeData.name !== nodeId) return;
      chain(nodeType, "onNodeCreated", (node) => {
        const element = addBody(node, output, className, empty(), startSizePx, minHeightPx);
        // What is unfolded gets room, and so does a picture that comes after its text.
        new ResizeObserver(() => hasRoomToFind(element) && grow(node, element)).observe(
          /** @type {HTMLElement} */ (element.firstChild),
        );
      });
      chain(nodeType, "onExecuted", (node, outputs) => {
        if (hasResult(outputs)) showAndGrow(node, outputs);
      });
    },

    /** ComfyUI waits for what this returns, and need not wait for the past. */
    afterConfigureGraph() {
      restore();
    },

    /**
     * ComfyUI put back the outputs: after undo, a change of tabs, or a look at a past job. They
     * outlive the nodes themselves, which are made anew when a workflow is configured.
     */
    onNodeOutputsUpdated() {
      for (const node of ownNodes()) {
        const outputs = keptOutputs(node);
        if (outputs) show(node, outputs);
      }
    },
  };
}

/** @param {Date} ended */
function createOrigin(ended) {
  const time = format.moments(language(), ended, ended);
  return make("p", "", `${translate("restored")} ${time}. ${translate("restored_note")}`);
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
 * Make room for all of the element, up to a limit and to the next node below; what is larger scrolls.
 * A node never shrinks.
 *
 * @param {any} node
 * @param {HTMLElement} element
 * @param {number} minHeightPx
 */
function growToFit(node, element, minHeightPx) {
  const [width, height] = node.size;
  const around = node.computeSize()[1] - minHeightPx + 2 * MARGIN_PX + SLACK_PX;
  const needed = around + heightAt(element, width - 2 * MARGIN_PX);
  const grown = Math.max(height, Math.min(needed, MAX_GROWN_HEIGHT_PX, roomBelow(node)));
  if (grown > height) node.setSize([width, grown]);
  node.graph?.setDirtyCanvas(true, true);
}

/** @param {any} node @returns {number} The height at which it would reach the next node. */
function roomBelow({ graph, pos: [left, top], size: [width] }) {
  // @ts-ignore ComfyUI puts LiteGraph on the window.
  const titleHeight = window.LiteGraph.NODE_TITLE_HEIGHT;
  const tops = graph.nodes
    .filter(
      (/** @type {any} */ { pos: [x, y], size: [otherWidth] }) =>
        y > top && x < left + width && left < x + otherWidth,
    )
    .map((/** @type {any} */ { pos: [, y] }) => y - titleHeight - MARGIN_PX - top);
  return Math.min(...tops);
}

/** @param {HTMLElement} element @returns {boolean} Whether it is drawn, and more of it than fits. */
function hasRoomToFind({ clientHeight, scrollHeight }) {
  return clientHeight > 0 && scrollHeight > clientHeight;
}

/** @param {HTMLElement} element @param {number} widthPx */
function heightAt(element, widthPx) {
  const probe = make("div", "wattbench-probe", element.cloneNode(true));
  probe.style.width = `${widthPx}px`;
  document.body.append(probe);
  const height = Math.ceil(probe.getBoundingClientRect().height);
  probe.remove();
  return height;
}

/**
 * @param {any} node A fresh node, not yet configured from a workflow.
 * @param {string} output
 * @param {string} className
 * @param {string} empty
 * @param {number[]} startSizePx
 * @param {number} minHeightPx
 */
function addBody(node, output, className, empty, startSizePx, minHeightPx) {
  const body = make("div", "wattbench-body", make("p", "wattbench-empty", empty));
  const element = make("div", `wattbench-result ${className}`, body);
  // Nodes 2.0 asks the element itself.
  element.style.minHeight = `${minHeightPx - 2 * MARGIN_PX}px`;
  // In Nodes 2.0 the wheel scrolls the result, once it has the focus, instead of the canvas.
  element.dataset.captureWheel = "true";
  // Nodes 2.0 mounts an element once per graph, node id, name and type. A workflow that is loaded
  // again has the first three in common with its predecessor, so the type makes the difference.
  const type = `${output}_${Math.random()}`;
  const widget = node.addDOMWidget(WIDGET, type, element, {
    serialize: false,
    hideOnZoom: false,
    margin: MARGIN_PX,
    getMinHeight: () => minHeightPx,
  });
  widget.serialize = false;
  node.setSize(startSizePx.map((length, i) => Math.max(node.size[i], length)));
  return element;
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
