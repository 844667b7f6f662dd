/** A summary as elements: the card, the comparison, tables and charts; no ComfyUI in here. */

import { createActions } from "./actions.js";
import { createBeside } from "./beside_view.js";
import { toPng } from "./card_image.js";
import { createCard, createComparison } from "./card_view.js";
import { createFold, make } from "./dom.js";
import * as format from "./format.js";
import { createCharts } from "./summary_charts.js";
import { asCsv, asMarkdown } from "./table_text.js";
import { createReasons, createTable } from "./tables.js";

/**
 * As report/shown.py has it; there is one series for each row. A table of layers has no more than the
 * table and its notes, and so have outputs kept by an earlier version.
 *
 * @typedef {object} SummaryParts
 * @property {string[]} notes
 * @property {import("./card_view.js").Glance | null} [glance]
 * @property {string[]} [troubles] Why runs failed.
 * @property {(import("./card_view.js").Picture | null)[]} [pictures] One for each row.
 * @property {{headings: string[], reason: string}[]} [unmeasured] Columns without any value.
 * @property {Table} [phases] A row for each row of the summary.
 * @property {import("./summary_charts.js").Series[]} [series]
 * @property {string} [csv] What another file is compared with.
 * @property {[string, string]} [measured_at] When the first and the last run began, ISO 8601.
 *
 * @typedef {import("./tables.js").Table} Table
 * @typedef {Table & SummaryParts} Summary
 * @typedef {import("./translator.js").Translator} Translator
 */

/**
 * @param {Summary} summary
 * @param {Translator} translate
 * @param {string} language
 * @param {(picture: import("./card_view.js").Picture) => string} [addressOf] Of a picture.
 * @param {import("./beside_view.js").Compare} [compare] With another file.
 * @returns {HTMLElement[]}
 */
export function renderSummary(summary, translate, language, addressOf, compare) {
  const { glance, troubles = [], unmeasured = [] } = summary;
  const reasons = createReasons();
  const tables = [{ table: /** @type {Table} */ (summary), caption: translate("caption") }];
  if (summary.phases) tables.push({ table: summary.phases, caption: translate("phases_caption") });
  const shown = tables.map(({ table, caption }) =>
    createTable(table, caption, reasons, translate, language),
  );
  const notes = notesOf(summary, translate, language);
  const blanks = unmeasured.map(
    ({ headings, reason }) =>
      `${translate("not_measured")}: ${headings.map(translate).join(", ")}: ${translate(reason)}`,
  );
  const numbers = [
    ...shown,
    ...list("ul", "wattbench-unmeasured", translate("not_measured"), blanks),
    ...list("ol", "wattbench-reasons", translate("blanks"), reasons.all().map(translate)),
  ];
  const noteList = list("ul", "wattbench-notes", translate("notes"), notes);
  const markdown = () => asMarkdown(tables, [...blanks, ...notes], translate, language);
  const csv = () => asCsv(tables.map(({ table }) => table));
  if (!glance) return [...numbers, ...noteList, createActions(translate, markdown, csv)];
  const pictures = glance.labels.map((_, i) => {
    const picture = summary.pictures?.[i];
    return picture && addressOf ? addressOf(picture) : undefined;
  });
  const comparison = make("div", "wattbench-compared");
  /** @param {import("./card_view.js").Both} [both] */
  const draw = (both) =>
    comparison.replaceChildren(...createComparison(glance, pictures, translate, language, both));
  draw();
  const posted = [
    createCard(glance, troubles, pictures[glance.row], translate, language),
    comparison,
  ];
  const beside = summary.csv && compare
    ? [createBeside(summary.csv, compare, translate, language, draw)]
    : [];
  return [
    ...posted,
    ...beside,
    createFold(translate("numbers"), ...numbers),
    ...charts(summary, translate, language),
    ...noteList.map((element) => createFold(`${translate("notes")} (${notes.length})`, element)),
    createActions(translate, markdown, csv, () => toPng(posted)),
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
 * Charts of each condition, set under what it differs by.
 *
 * @param {Summary} summary
 * @param {Translator} translate
 * @param {string} language
 */
function charts({ glance, series = [] }, translate, language) {
  const sets = series.flatMap((one, i) => {
    const figures = createCharts(one, translate, language);
    const name = series.length === 1 ? [] : [make("h4", "", glance?.labels[i] ?? "")];
    return figures.length ? [make("div", "wattbench-plots", ...name, ...figures)] : [];
  });
  return sets.length ? [createFold(translate("charts"), ...sets)] : [];
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
