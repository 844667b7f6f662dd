/**
 * The input `meter` of every measuring node: a list of what could measure this machine, and a free text.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addStyleSheet } from "./dom.js";
import { createMeterDialog } from "./meter_view.js";
import { loadTranslator } from "./translator.js";

const METERS_ROUTE = "/wattbench/meters";
const WIDGET = "meter";

const translate = await loadTranslator("meter");

/** @param {any} node @returns {any} */
const meterOf = (node) =>
  (node.comfyClass ?? node.type)?.startsWith("WattBench") &&
  node.widgets?.find((/** @type {any} */ { name }) => name === WIDGET);

/** Meters are looked for when somebody asks. @param {any} node */
async function ask(node) {
  const widget = meterOf(node);
  const response = await api.fetchApi(METERS_ROUTE).catch(() => undefined);
  const offers = response?.ok ? await response.json() : [];
  const dialog = createMeterDialog(offers, `${widget.value}`, translate, (value) => {
    widget.value = value;
    widget.callback?.(value);
    node.graph?.setDirtyCanvas(true, true);
  });
  document.body.append(dialog);
  dialog.showModal();
}

app.registerExtension({
  name: "WattBench.Meter",

  setup() {
    addStyleSheet("record.css");
  },

  /** On the canvas a click opens the list in place of LiteGraph's field. @param {any} node */
  nodeCreated(node) {
    const widget = meterOf(node);
    if (widget) widget.onClick = () => ask(node);
  },

  /** In Nodes 2.0 the text is written in the node. @param {any} node */
  getNodeMenuItems(node) {
    if (!meterOf(node)) return [];
    return [{ content: translate("choose"), callback: () => ask(node) }];
  },
});
