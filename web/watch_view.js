/** What each node cost, as a table: no ComfyUI in here. */

import { make } from "./dom.js";
import * as format from "./format.js";
import { BLANK, createRegion } from "./tables.js";

/**
 * As nodes/watch.py has it.
 *
 * @typedef {object} NodeCost
 * @property {string} node_id
 * @property {string} display_id
 * @property {string} class_type
 * @property {string} title
 * @property {"executed" | "cached" | "failed" | "not_run"} state
 * @property {number | null} time_s
 * @property {number | null} energy_j
 * @property {number | null} peak_vram_bytes
 * @property {string} note
 *
 * @typedef {object} GraphCost
 * @property {string | null} workflow_id Of the workflow that the prompt was queued from.
 * @property {number} time_s
 * @property {number | null} energy_j
 * @property {string | null} meter
 * @property {string} method
 * @property {number | null} peak_vram_bytes
 * @property {string} device
 * @property {string} file
 * @property {string[]} notes
 * @property {NodeCost[]} nodes
 *
 * @typedef {import("./translator.js").Translator} Translator
 */

/**
 * @param {GraphCost} cost
 * @param {Translator} translate
 * @param {string} language
 * @returns {HTMLElement[]}
 */
export function renderCost(cost, translate, language) {
  const headings = [
    translate("node"),
    translate("time"),
    translate("energy"),
    translate("vram"),
  ].map((text) => header(text, "col"));
  const total = make(
    "tr",
    "wattbench-total",
    header(translate("total"), "row"),
    number(format.seconds(language, cost.time_s)),
    ...measured(cost, translate("blank"), language),
  );
  const lines = cost.nodes.map((node) => row(node, cost.time_s, translate, language));
  const table = make(
    "table",
    "wattbench-rows",
    make("caption", "", `${translate("caption")}: ${cost.device}`),
    make("thead", "", make("tr", "", ...headings)),
    make("tbody", "", total, ...lines),
  );
  const region = createRegion(table, translate("caption"));
  const meter = `${cost.meter} (${translate(cost.method)})`;
  const texts = [
    ...(cost.meter ? [`${translate("energy")}: ${meter}`] : []),
    ...[...cost.notes, cost.file].map(translate),
    ...ownNotes(cost.nodes, translate),
  ];
  const notes = make("ul", "wattbench-notes", ...texts.map((text) => make("li", "", text)));
  notes.setAttribute("aria-label", translate("notes"));
  return [region, notes];
}

/**
 * @param {NodeCost[]} nodes
 * @param {Translator} translate
 * @returns {string[]} Each note once, with the nodes that it is about.
 */
function ownNotes(nodes, translate) {
  const notes = [...new Set(nodes.map(({ note }) => note).filter(Boolean))];
  return notes.map((note) => {
    const names = nodes.filter((node) => node.note === note).map(name);
    return `${names.join(", ")}: ${translate(note)}`;
  });
}

/**
 * @param {NodeCost} node
 * @param {number} total_s
 * @param {Translator} translate
 * @param {string} language
 */
function row(node, total_s, translate, language) {
  const state = {
    executed: "",
    cached: translate("cached"),
    failed: translate("failed"),
    not_run: translate("not_run"),
  }[node.state];
  const share = node.time_s === null ? 0 : (100 * node.time_s) / total_s;
  const time =
    node.time_s === null
      ? ""
      : `${format.seconds(language, node.time_s)} (${format.number(language, share, 0)} %)`;
  const cells = node.time_s === null ? [number(""), number("")] : null;
  const element = make(
    "tr",
    "",
    header(name(node), "row"),
    number([time, state].filter(Boolean).join(" ")),
    ...(cells ?? measured(node, translate(node.note || "blank"), language)),
  );
  if (node.note) element.title = translate(node.note);
  return element;
}

/**
 * The cells of energy and VRAM.
 *
 * @param {{energy_j: number | null, peak_vram_bytes: number | null}} cost
 * @param {string} reason Why one of them is blank.
 * @param {string} language
 */
function measured({ energy_j, peak_vram_bytes }, reason, language) {
  return [
    energy_j === null ? blank(reason) : number(format.energy(language, energy_j, null)),
    peak_vram_bytes === null ? blank(reason) : number(format.memory(language, peak_vram_bytes)),
  ];
}

/** @param {NodeCost} node Its title, if it has one, and its id: titles are not unique. */
function name({ title, class_type, node_id }) {
  return `${title || class_type} #${node_id}`;
}

/** @param {string} text @param {"col" | "row"} scope */
function header(text, scope) {
  const element = make("th", "", text);
  element.scope = scope;
  return element;
}

/** @param {string} text */
function number(text) {
  return make("td", "wattbench-number", text);
}

/** @param {string} reason */
function blank(reason) {
  const dash = make("abbr", "", BLANK);
  dash.title = reason;
  return make("td", "wattbench-number", dash);
}
