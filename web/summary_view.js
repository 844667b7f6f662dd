/** The summary as an element, table and charts: no ComfyUI in here. */

import { make } from "./dom.js";
import { asMarkdown } from "./markdown.js";
import { createCharts } from "./summary_charts.js";

/**
 * What the node's output `wattbench_summary` holds; every cell is text, and there is one series for
 * each row. Outputs kept by an earlier version have no series.
 *
 * @typedef {{headings: string[], rows: string[][], notes: string[], series?: Series[]}} Summary
 * @typedef {import("./summary_charts.js").Series} Series
 *
 * @typedef {object} SummaryView
 * @property {HTMLElement} element The widget.
 * @property {(summary: Summary) => void} show Replace what is shown.
 */

const BLANK = "—";
const NUMERIC = /^[-−]?\d/;

/** Up to so many conditions stand side by side, one column each; more become one row each. */
const MAX_COLUMNS = 3;

/**
 * @param {import("./translator.js").Translator} translate
 * @param {() => string} language
 * @returns {SummaryView}
 */
export function createSummaryView(translate, language) {
  const body = make("div", "wattbench-body", make("p", "wattbench-empty", translate("empty")));
  const element = make("div", "wattbench-result wattbench-summary", body);
  // In Nodes 2.0 the wheel scrolls the table, once it has the focus, instead of the canvas.
  element.dataset.captureWheel = "true";
  return {
    element,
    show: (summary) => body.replaceChildren(...content(summary, translate, language())),
  };
}

/**
 * @param {Summary} summary
 * @param {import("./translator.js").Translator} translate
 * @param {string} language
 */
function content(summary, translate, language) {
  const caption = make("caption", "", translate("caption"));
  const table =
    summary.rows.length <= MAX_COLUMNS
      ? conditionsAsColumns(summary, caption, translate)
      : conditionsAsRows(summary, caption, translate);
  const region = make("div", "wattbench-region", table);
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", translate("caption"));
  const notes = make("ul", "wattbench-notes", ...summary.notes.map((note) => make("li", "", note)));
  notes.setAttribute("aria-label", translate("notes"));
  const charts = folds(summary, translate, language);
  return [region, ...(summary.notes.length ? [notes] : []), actions(summary, translate), ...charts];
}

/**
 * The charts of each condition, to be folded; a single condition's are open.
 *
 * @param {Summary} summary
 * @param {import("./translator.js").Translator} translate
 * @param {string} language
 */
function folds({ rows, series = [] }, translate, language) {
  return series.flatMap((one, i) => {
    const charts = createCharts(one, translate, language);
    if (!charts.length) return [];
    const title = series.length > 1 ? `${translate("charts")}: ${rows[i][0]}` : translate("charts");
    const plots = make("div", "wattbench-plots", ...charts);
    const fold = make("details", "wattbench-charts", make("summary", "", title), plots);
    fold.open = series.length === 1;
    return [fold];
  });
}

/**
 * @param {Summary} summary
 * @param {HTMLElement} caption
 * @param {import("./translator.js").Translator} translate
 */
function conditionsAsColumns({ headings, rows }, caption, translate) {
  const head = make("tr", "", header(headings[0], "col", translate));
  head.append(...rows.map((row) => header(row[0], "col", translate)));
  const lines = headings.slice(1).map((heading, i) => {
    const cells = rows.map((row) => cell(row[i + 1], translate));
    return make("tr", "", header(heading, "row", translate), ...cells);
  });
  return make("table", "wattbench-columns", caption, make("thead", "", head), body(lines));
}

/**
 * @param {Summary} summary
 * @param {HTMLElement} caption
 * @param {import("./translator.js").Translator} translate
 */
function conditionsAsRows({ headings, rows }, caption, translate) {
  const head = make("tr", "", ...headings.map((heading) => header(heading, "col", translate)));
  const lines = rows.map(([condition, ...values]) => {
    const cells = values.map((value) => cell(value, translate));
    return make("tr", "", header(condition, "row", translate), ...cells);
  });
  return make("table", "wattbench-rows", caption, make("thead", "", head), body(lines));
}

/** @param {HTMLElement[]} lines */
function body(lines) {
  return make("tbody", "", ...lines);
}

/**
 * @param {string} text A heading of the summary, or a condition, which has no translation.
 * @param {"col" | "row"} scope
 * @param {import("./translator.js").Translator} translate
 */
function header(text, scope, translate) {
  const element = make("th", "", translate(text));
  element.scope = scope;
  return element;
}

/**
 * @param {string} text
 * @param {import("./translator.js").Translator} translate
 */
function cell(text, translate) {
  if (text === BLANK) {
    const blank = make("abbr", "", BLANK);
    blank.title = translate("blank");
    return make("td", "wattbench-number", blank);
  }
  return make("td", NUMERIC.test(text) ? "wattbench-number" : "", text);
}

/**
 * @param {Summary} summary
 * @param {import("./translator.js").Translator} translate
 */
function actions(summary, translate) {
  const button = make("button", "wattbench-button", translate("copy"));
  button.type = "button";
  const status = make("span", "wattbench-status");
  status.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    const copied = await copy(asMarkdown(summary, translate("caption")), button);
    status.textContent = translate(copied ? "copied" : "not_copied");
  });
  return make("div", "wattbench-actions", button, status);
}

/**
 * Put text on the clipboard. Browsers offer their clipboard only to pages from this machine or over
 * HTTPS; elsewhere, as on a ComfyUI in the local network, the older command still works.
 *
 * @param {string} text
 * @param {HTMLElement} button Gets the focus back.
 * @returns {Promise<boolean>} Whether it worked.
 */
async function copy(text, button) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  }
  const field = make("textarea", "wattbench-clipboard");
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  button.focus();
  return copied;
}
