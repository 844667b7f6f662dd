/** A second table of results beside a summary: no ComfyUI in here. */

import { make } from "./dom.js";
import { createReasons, createTable } from "./tables.js";

/**
 * As report/beside.py has it; all cells are text.
 *
 * @typedef {{name: string, unit: string, own: string, other: string, ratio: string}} Metric
 * @typedef {{label: string, verdict: string, notes: string[], metrics: Metric[]}} Row
 * @typedef {{name: string, note: string, left_over: number[], rows: Row[]}} Beside
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
 */
export function createBeside(own, compare, translate, language) {
  const status = make("p", "wattbench-beside-status");
  status.setAttribute("role", "status");
  const shown = make("div", "");
  const input = make("input");
  input.type = "file";
  input.accept = ".csv,text/csv";
  input.hidden = true;
  const button = make("button", "wattbench-button", translate("beside"));
  button.type = "button";
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", async () => {
    const [file] = input.files ?? [];
    if (!file) return;
    try {
      const found = await compare(own, file);
      status.textContent = "";
      shown.replaceChildren(...render(found, translate, language));
    } catch (error) {
      shown.replaceChildren();
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
  const parts = rows.flatMap(({ label, verdict, notes, metrics }) => [
    ...(verdict ? [make("p", "wattbench-lead", translate(verdict))] : []),
    createTable(
      {
        headings,
        rows: metrics.map(({ unit, own, other, ratio }) => [unit, own, other, ratio]),
      },
      label,
      createReasons(),
      translate,
      language,
      true,
    ),
    ...notes.map((text) => make("p", "wattbench-quiet", translate(text))),
  ]);
  const left = left_over.some(Boolean)
    ? [`${translate("left_over")} ${left_over[0]}, ${name}: ${left_over[1]}.`]
    : [];
  const asides = [translate(note), ...left].map((text) => make("p", "wattbench-quiet", text));
  return [make("p", "wattbench-beside-title", `${translate("beside_title")}: ${name}`), ...parts, ...asides];
}
