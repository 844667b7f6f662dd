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
 * @property {string} prompt_id
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
 * @param {GraphCost} [previous] The run of the same workflow before this one.
 * @returns {HTMLElement[]}
 */
export function renderCost(cost, translate, language, previous) {
  const before = new Map(previous?.nodes.map((node) => [node.node_id, node]));
  /** @param {NodeCost | GraphCost} now @param {NodeCost | GraphCost | undefined} then */
  const changes = (now, then) => (previous ? [change(now, then, translate, language)] : []);
  const total = make(
    "tr",
    "wattbench-total",
    header(translate("total"), "row"),
    number(format.seconds(language, cost.time_s)),
    ...measured(cost, translate("blank"), language),
    ...changes(cost, previous),
  );
  const lines = cost.nodes.map((node) => {
    const element = row(node, cost.time_s, translate, language);
    element.append(...changes(node, before.get(node.node_id)));
    heat(element, node, cost);
    return { element, node };
  });
  const sortable = /** @type {[string, (node: NodeCost) => number | null][]} */ ([
    ["time", (node) => node.time_s],
    ["energy", (node) => node.energy_j],
    ["vram", (node) => node.peak_vram_bytes],
  ]);
  const names = {
    time: translate("time"),
    energy: translate("energy"),
    vram: translate("vram"),
  };
  const headings = [
    header(translate("node"), "col"),
    ...sortable.map(([key, valueOf]) => {
      const heading = header("", "col");
      const button = make("button", "wattbench-sort", names[/** @type {keyof typeof names} */ (key)]);
      button.type = "button";
      button.title = translate("sort");
      button.addEventListener("click", () => {
        const isSorted = heading.ariaSort === "descending";
        for (const other of headings) other.removeAttribute("aria-sort");
        if (!isSorted) heading.setAttribute("aria-sort", "descending");
        const value = (/** @type {NodeCost} */ node) => valueOf(node) ?? -1;
        const order = isSorted ? lines : [...lines].sort((a, b) => value(b.node) - value(a.node));
        total.after(...order.map(({ element }) => element));
      });
      heading.append(button);
      return heading;
    }),
    ...(previous ? [header(translate("change"), "col")] : []),
  ];
  const table = make(
    "table",
    "wattbench-rows",
    make("caption", "", `${translate("caption")}: ${cost.device}`),
    make("thead", "", make("tr", "", ...headings)),
    make("tbody", "", total, ...lines.map(({ element }) => element)),
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
 * What is more or less than before: of energy where both have it, else of time.
 *
 * @param {NodeCost | GraphCost} now
 * @param {NodeCost | GraphCost | undefined} then
 * @param {Translator} translate
 * @param {string} language
 */
function change(now, then, translate, language) {
  const isEnergy = now.energy_j !== null && then?.energy_j != null;
  const [value, earlier] = isEnergy ? [now.energy_j, then.energy_j] : [now.time_s, then?.time_s];
  if (value === null || earlier == null || !(earlier > 0)) return number("");
  const share = Number(value) / earlier - 1;
  const sign = share > 0 ? "+" : "";
  const cell = number(`${sign}${format.number(language, 100 * share, 0)} %`);
  const was = isEnergy
    ? format.energy(language, earlier, null)
    : format.seconds(language, earlier);
  cell.title = `${translate(isEnergy ? "energy" : "time")}, ${translate("before")}: ${was}`;
  return cell;
}

/**
 * Mark a row by its share of the prompt's energy, or of its time: the warmer, the more it cost.
 *
 * @param {HTMLElement} element
 * @param {NodeCost} node
 * @param {GraphCost} cost
 */
function heat(element, node, cost) {
  const share = cost.energy_j
    ? (node.energy_j ?? 0) / cost.energy_j
    : (node.time_s ?? 0) / cost.time_s;
  const part = Math.min(1, Math.max(0, share));
  element.style.setProperty("--wattbench-heat", `${100 * part}%`);
  // From blue for nothing to red for all of it.
  element.style.setProperty("--wattbench-hue", `${220 - 220 * Math.sqrt(part)}`);
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
