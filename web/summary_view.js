/** The summary table as an element: no ComfyUI in here. */

import { asMarkdown } from "./markdown.js";

/**
 * What the node's output `wattbench_summary` holds; every cell is text.
 *
 * @typedef {{headings: string[], rows: string[][], notes: string[]}} Summary
 *
 * @typedef {object} SummaryView
 * @property {HTMLElement} element The widget.
 * @property {(summary: Summary) => void} show Replace what is shown.
 * @property {(widthPx: number) => number} heightAt Height in CSS px of all content at that width.
 */

const BLANK = "—";
const NUMERIC = /^[-−]?\d/;

/** Up to so many conditions stand side by side, one column each; more become one row each. */
const MAX_COLUMNS = 3;

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} className
 * @param {(Node | string)[]} children Text stays text: nothing is parsed as HTML.
 * @returns {HTMLElementTagNameMap[Tag]}
 */
function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/**
 * @param {import("./translator.js").Translator} translate
 * @returns {SummaryView}
 */
export function createSummaryView(translate) {
  const body = make("div", "wattbench-body", emptyState(translate));
  const element = make("div", "wattbench-summary", body);
  // In Nodes 2.0 the wheel scrolls the table, once it has the focus, instead of the canvas.
  element.dataset.captureWheel = "true";
  return {
    element,
    show: (summary) => body.replaceChildren(...content(summary, translate)),
    heightAt: (widthPx) => measure(element, widthPx),
  };
}

/** @param {import("./translator.js").Translator} translate */
function emptyState(translate) {
  return make("p", "wattbench-empty", translate("empty"));
}

/**
 * @param {Summary} summary
 * @param {import("./translator.js").Translator} translate
 */
function content(summary, translate) {
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
  const parts = [region, actions(summary, translate)];
  return summary.notes.length ? [parts[0], notes, parts[1]] : parts;
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

/**
 * @param {HTMLElement} element
 * @param {number} widthPx
 */
function measure(element, widthPx) {
  const probe = make("div", "wattbench-probe", element.cloneNode(true));
  probe.style.width = `${widthPx}px`;
  document.body.append(probe);
  const height = Math.ceil(probe.getBoundingClientRect().height);
  probe.remove();
  return height;
}
