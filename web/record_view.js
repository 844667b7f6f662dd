/** The history of what prompts cost, in the WattBench tab, and the question that begins it. */

import { createButton, make } from "./dom.js";
import * as format from "./format.js";
import { BLANK, createRegion } from "./tables.js";

/**
 * As measure/graph/history.py has it.
 *
 * @typedef {object} Prompt
 * @property {string} prompt_id
 * @property {string | null} workflow_id
 * @property {string} started_at ISO 8601.
 * @property {"executed" | "failed"} state
 * @property {number} time_s
 * @property {number | null} energy_j
 * @property {number | null} error_j
 * @property {number | null} peak_vram_bytes
 *
 * `most` is 0 while none is kept; `note` says why not, or what is wrong.
 * @typedef {{most: number, note: string, damaged: number, prompts: Prompt[]}} History
 *
 * @typedef {import("./translator.js").Translator} Translator
 */

const SHOWN = 8;

/**
 * @param {Translator} translate
 * @param {() => string} language
 * @param {{keep: (isOn: boolean) => void, clear: () => void, open: () => void}} actions
 */
export function createRecordPanel(translate, language, actions) {
  const status = make("p", "wattbench-record-status");
  status.setAttribute("role", "status");
  const table = make("div", "");
  let isOn = false;
  const keep = createButton("", () => actions.keep(!isOn));
  const open = createButton(translate("open"), actions.open);
  const clear = createButton(translate("clear"), actions.clear);
  const buttons = make("div", "wattbench-buttons", keep, open, clear);
  const heading = make("h2", "", translate("title"));
  return {
    element: make("section", "wattbench-record", heading, status, table, buttons),
    /** @param {History} history */
    show({ most, note, damaged, prompts }) {
      isOn = most > 0;
      keep.textContent = translate(isOn ? "stop" : "keep");
      const parts = [
        isOn ? `${translate("kept")} ${format.number(language(), most, 0)}.` : translate("off"),
        note ? translate(note) : "",
        damaged ? `${translate("damaged")} ${damaged}.` : "",
      ];
      status.textContent = parts.filter(Boolean).join(" ");
      for (const button of [open, clear]) button.hidden = !prompts.length;
      table.replaceChildren(...(prompts.length ? [createRows(prompts, translate, language())] : []));
    },
  };
}

/** @param {Prompt[]} prompts Newest first. @param {Translator} translate @param {string} language */
function createRows(prompts, translate, language) {
  const headings = [translate("began"), translate("time"), translate("energy"), "Δ"];
  const cells = headings.map((text) => {
    const cell = make("th", "", text);
    cell.scope = "col";
    return cell;
  });
  const rows = prompts.slice(0, SHOWN).map((prompt, i) => {
    const before = prompts
      .slice(i + 1)
      .find(({ workflow_id }) => workflow_id && workflow_id === prompt.workflow_id);
    const began = new Date(prompt.started_at);
    const name = make("th", "", format.moments(language, began, began));
    name.scope = "row";
    const failed = prompt.state === "failed" ? ` (${translate("failed")})` : "";
    const energy =
      prompt.energy_j === null
        ? BLANK
        : format.energy(language, prompt.energy_j, prompt.error_j);
    return make(
      "tr",
      "",
      name,
      make("td", "", format.seconds(language, prompt.time_s) + failed),
      make("td", "", energy),
      make("td", "", before ? change(prompt, before, language) : BLANK),
    );
  });
  const table = make(
    "table",
    "",
    make("thead", "", make("tr", "", ...cells)),
    make("tbody", "", ...rows),
  );
  return createRegion(table, translate("title"));
}

/** Of energy where both have it, else of time. @param {Prompt} now @param {Prompt} before @param {string} language */
function change(now, before, language) {
  const isEnergy = now.energy_j !== null && before.energy_j !== null;
  const [value, earlier] = isEnergy
    ? [Number(now.energy_j), Number(before.energy_j)]
    : [now.time_s, before.time_s];
  if (!(earlier > 0)) return BLANK;
  const share = 100 * (value / earlier - 1);
  return `${share > 0 ? "+" : ""}${format.number(language, share, 0)} %`;
}

/**
 * A question that stands in a corner of the page and takes no focus.
 *
 * @param {Translator} translate
 * @param {(isOn: boolean) => void} answer Called once; closing it means yes.
 */
export function createQuestion(translate, answer) {
  const text = make("p", "", translate("question"));
  text.id = "wattbench-question";
  const element = make("section", "wattbench-question", text);
  element.setAttribute("role", "dialog");
  element.setAttribute("aria-labelledby", text.id);
  /** @param {boolean} isOn */
  const end = (isOn) => {
    element.remove();
    answer(isOn);
  };
  const yes = createButton(translate("yes"), () => end(true));
  const no = createButton(translate("no"), () => end(false));
  element.append(make("div", "wattbench-buttons", yes, no));
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape") end(true);
  });
  return element;
}
