/** Tables of results as elements, and the reasons of their blank cells: no ComfyUI in here. */

import { make } from "./dom.js";
import * as format from "./format.js";

/**
 * Cells are text. `blanks` gives for each row the reason of every blank cell, by its heading; tables
 * whose notes explain their blanks have none.
 *
 * @typedef {{headings: string[], rows: string[][], blanks?: Record<string, string>[]}} Table
 *
 * @typedef {import("./translator.js").Translator} Translator
 *
 * @typedef {object} Reasons
 * @property {(reason: string) => number} numberOf The number of a reason; each has one, from 1.
 * @property {() => string[]} all In the order of their numbers.
 */

/** What stands where nothing is known. */
export const BLANK = "—";

/** Up to so many rows stand side by side, one column each. */
const MAX_COLUMNS = 3;

/** @returns {Reasons} */
export function createReasons() {
  /** @type {string[]} */
  const reasons = [];
  return {
    numberOf(reason) {
      if (!reasons.includes(reason)) reasons.push(reason);
      return reasons.indexOf(reason) + 1;
    },
    all: () => reasons,
  };
}

/**
 * A table in a region that scrolls, and that the keyboard reaches.
 *
 * @param {Table} table
 * @param {string} caption
 * @param {Reasons} reasons Gets those of this table.
 * @param {Translator} translate Of headings and cells too.
 * @param {string} language
 * @param {boolean} [areRows] Whether rows stay rows, however few they are.
 */
export function createTable(table, caption, reasons, translate, language, areRows = false) {
  const isNarrow = !areRows && table.rows.length <= MAX_COLUMNS;
  const [head, ...lines] = isNarrow ? transposed(table) : asRows(table);
  const element = make(
    "table",
    isNarrow ? "wattbench-columns" : "wattbench-rows",
    make("caption", "", caption),
    make("thead", "", make("tr", "", ...head.map((cell) => header(cell.text, "col", translate)))),
    make("tbody", "", ...lines.map(([name, ...cells]) =>
      make(
        "tr",
        "",
        header(name.text, "row", translate),
        ...cells.map((cell) => data(cell, reasons, translate, language)),
      ),
    )),
  );
  return createRegion(element, caption);
}

/** @param {HTMLTableElement} table @param {string} name */
export function createRegion(table, name) {
  const region = make("div", "wattbench-region", table);
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", name);
  return region;
}

/** @typedef {{text: string, reason?: string}} Cell */

/** @param {Table} table @returns {Cell[][]} The headings, then the rows. */
function asRows({ headings, rows, blanks }) {
  return [
    headings.map((text) => ({ text })),
    ...rows.map((row, i) => row.map((text, j) => ({ text, reason: blanks?.[i][headings[j]] }))),
  ];
}

/** @param {Table} table */
function transposed(table) {
  const lines = asRows(table);
  return table.headings.map((_, i) => lines.map((line) => line[i]));
}

/**
 * The text of a cell as the page writes it; the source of energy has its method in brackets.
 *
 * @param {string} text As the server has it.
 * @param {Translator} translate
 * @param {string} language
 */
export function written(text, translate, language) {
  if (format.isNumeric(text)) return format.cell(language, text);
  return translate(text).replace(/\((\w+)\)$/, (_, word) => `(${translate(word)})`);
}

/** @param {string} text @param {"col" | "row"} scope @param {Translator} translate */
function header(text, scope, translate) {
  const element = make("th", "", translate(text));
  element.scope = scope;
  return element;
}

/**
 * @param {Cell} cell
 * @param {Reasons} reasons
 * @param {Translator} translate
 * @param {string} language
 */
function data({ text, reason }, reasons, translate, language) {
  if (text !== BLANK) {
    const className = format.isNumeric(text) ? "wattbench-number" : "";
    return make("td", className, written(text, translate, language));
  }
  const dash = make("abbr", "", BLANK);
  dash.title = translate(reason ?? "blank");
  const mark = reason ? [make("sup", "", `${reasons.numberOf(reason)}`)] : [];
  return make("td", "wattbench-number", dash, ...mark);
}
