/** A second table of results beside a summary: no ComfyUI in here. */

import { createButton, createFold, make } from "./dom.js";
import { createReasons, createTable } from "./tables.js";

/**
 * As report/beside.py has it; all cells are text.
 *
 * @typedef {{name: string, unit: string, own: string, other: string, ratio: string}} Metric
 * @typedef {{label: string, verdict: string, notes: string[], metrics: Metric[]}} Row
 * @typedef {{labels: string[], files: number[], measures: import("./card_view.js").Dotted[]}} Chart
 * @typedef {{name: string, note: string, left_over: number[], rows: Row[], chart: Chart}} Beside
 *
 * @typedef {import("./translator.js").Translator} Translator
 *
 * @typedef {(own: string, file: File) => Promise<Beside>} Compare Rejects with what to tell.
 */

/**
 * A button that asks for a file, and what stands beside once there is one.
 *
 * @param {string} own What of the summary is compared.
 * @param {Compare} compare
 * @param {Translator} translate
 * @param {string} language
 * @param {(both?: import("./card_view.js").Both) => void} draw All conditions of both on one axis;
 *   those of this result alone where a file was refused.
 */
export function createBeside(own, compare, translate, language, draw) {
  const status = make("p", "wattbench-beside-status");
  status.setAttribute("role", "status");
  const shown = make("div", "");
  const input = make("input");
  input.type = "file";
  input.accept = ".csv,text/csv";
  input.hidden = true;
  const button = createButton(translate("beside"), () => input.click());
  input.addEventListener("change", async () => {
    const [file] = input.files ?? [];
    if (!file) return;
    try {
      const found = await compare(own, file);
      status.textContent = "";
      shown.replaceChildren(...render(found, translate, language));
      draw({ name: found.name, ...found.chart });
    } catch (error) {
      shown.replaceChildren();
      draw();
      status.textContent = translate(error instanceof Error ? error.message : `${error}`);
    }
    // As when something is unfolded: the node makes room.
    shown.dispatchEvent(new Event("toggle"));
    // The same file may be chosen again, after it was written anew.
    input.value = "";
  });
  const element = make("section", "wattbench-beside", button, input, status, shown);
  element.setAttribute("aria-label", translate("beside_title"));
  return element;
}

/** @param {Beside} found @param {Translator} translate @param {string} language */
function render({ name, note, left_over, rows }, translate, language) {
  const headings = [translate("measure"), translate("this_result"), name, translate("beside_ratio")];
  const leads = rows.flatMap(({ label, verdict, notes }) => [
    ...(verdict ? [make("p", "wattbench-lead", ...named(label), translate(verdict))] : []),
    ...notes.map((text) => make("p", "wattbench-quiet", ...named(label), translate(text))),
  ]);
  const tables = rows.map(({ label, metrics }) =>
    createTable(
      { headings, rows: metrics.map(({ unit, own, other, ratio }) => [unit, own, other, ratio]) },
      label || translate("caption"),
      createReasons(),
      translate,
      language,
      true,
    ),
  );
  const left = left_over.some(Boolean)
    ? [`${translate("left_over")} ${left_over[0]}, ${name}: ${left_over[1]}.`]
    : [];
  const asides = [translate(note), ...left].map((text) => make("p", "wattbench-quiet", text));
  return [
    make("p", "wattbench-beside-title", `${translate("beside_title")}: ${name}`),
    ...leads,
    ...asides,
    ...(tables.length ? [createFold(translate("beside_numbers"), ...tables)] : []),
  ];
}

/** @param {string} label Of a condition; the only one has none. */
function named(label) {
  return label ? [`${label}: `] : [];
}
