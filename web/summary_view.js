/** A summary as elements, tables and charts: no ComfyUI in here. */

import { createActions } from "./actions.js";
import { make } from "./dom.js";
import * as format from "./format.js";
import { createCharts } from "./summary_charts.js";
import { asCsv, asMarkdown } from "./table_text.js";
import { createReasons, createTable } from "./tables.js";

/**
 * As measure/report/shown.py has it; there is one series for each row. A table of layers has no more
 * than the table and its notes, and so have outputs kept by an earlier version.
 *
 * @typedef {object} SummaryParts
 * @property {string[]} notes
 * @property {Table} [phases] A row for each row of the summary.
 * @property {import("./summary_charts.js").Series[]} [series]
 * @property {[string, string]} [measured_at] When the first and the last run began, ISO 8601.
 *
 * @typedef {import("./tables.js").Table} Table
 * @typedef {Table & SummaryParts} Summary
 * @typedef {import("./translator.js").Translator} Translator
 */

/** The phases of more conditions than these are folded. */
const MAX_OPEN_PHASES = 3;

/**
 * @param {Summary} summary
 * @param {Translator} translate
 * @param {string} language
 * @returns {HTMLElement[]}
 */
export function renderSummary(summary, translate, language) {
  const reasons = createReasons();
  const tables = [{ table: /** @type {Table} */ (summary), caption: translate("caption") }];
  if (summary.phases) tables.push({ table: summary.phases, caption: translate("phases_caption") });
  const [main, ...phases] = tables.map(({ table, caption }) =>
    createTable(table, caption, reasons, translate, language),
  );
  const isOpen = summary.rows.length <= MAX_OPEN_PHASES;
  const notes = notesOf(summary, translate, language);
  return [
    main,
    ...phases.map((table) => fold(translate("phases"), isOpen, table)),
    ...list("ol", "wattbench-reasons", translate("blanks"), reasons.all().map(translate)),
    ...list("ul", "wattbench-notes", translate("notes"), notes),
    createActions(
      translate,
      () => asMarkdown(tables, notes, translate, language),
      () => asCsv(tables.map(({ table }) => table)),
    ),
    ...charts(summary, translate, language),
  ];
}

/** @param {Summary} summary @param {Translator} translate @param {string} language */
function notesOf({ notes, measured_at }, translate, language) {
  const texts = notes.map(translate);
  if (!measured_at?.length) return texts;
  const [first, last] = measured_at.map((time) => new Date(time));
  return [`${translate("measured_at")} ${format.moments(language, first, last)}.`, ...texts];
}

/**
 * Charts of one condition are open, those of several folded, each set under the condition's name.
 *
 * @param {Summary} summary
 * @param {Translator} translate
 * @param {string} language
 */
function charts({ rows, series = [] }, translate, language) {
  const isSingle = series.length === 1;
  const sets = series.flatMap((one, i) => {
    const figures = createCharts(one, translate, language);
    const name = isSingle ? [] : [make("h4", "", rows[i][0])];
    return figures.length ? [make("div", "wattbench-plots", ...name, ...figures)] : [];
  });
  return sets.length ? [fold(translate("charts"), isSingle, ...sets)] : [];
}

/** @param {string} title @param {boolean} isOpen @param {HTMLElement[]} content */
function fold(title, isOpen, ...content) {
  const element = make("details", "wattbench-fold", make("summary", "", title), ...content);
  element.open = isOpen;
  return element;
}

/**
 * @param {"ol" | "ul"} tag
 * @param {string} className
 * @param {string} label
 * @param {string[]} texts
 * @returns {HTMLElement[]} Nothing where there are no texts.
 */
function list(tag, className, label, texts) {
  if (!texts.length) return [];
  const element = make(tag, className, ...texts.map((text) => make("li", "", text)));
  element.setAttribute("aria-label", label);
  return [element];
}
