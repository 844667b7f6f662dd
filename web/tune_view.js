/** The form, the bar and the candidates of a search: no ComfyUI in here. */

import { createButton, make } from "./dom.js";
import * as format from "./format.js";
import { BLANK } from "./tables.js";

/**
 * As hosts/comfyui/tune_route.py tells it.
 *
 * @typedef {object} Candidate
 * @property {string} candidate
 * @property {number | null} ratio
 * @property {number | null} ratio_low
 * @property {number | null} ratio_high
 * @property {string} fault
 *
 * @typedef {object} ImageEvent
 * @property {string} stage
 * @property {number} block
 * @property {string} candidate
 * @property {number} image
 * @property {number} of
 * @property {number} elapsed_s
 * @property {number} budget_s
 * @property {number | null} time_s
 * @property {number | null} energy_j
 * @property {Candidate[]} candidates
 *
 * @typedef {object} EndEvent
 * @property {string} verdict
 * @property {Candidate[]} candidates
 *
 * @typedef {object} Told
 * @property {"idle" | "running" | "cancelling" | "cancelled" | "failed" | "done"} state
 * @property {string} folder
 * @property {string} error
 * @property {{image?: ImageEvent, end?: EndEvent}} events
 * @property {string[]} results
 *
 * @typedef {object} Wishes
 * @property {string} objective
 * @property {number} budget_min
 * @property {string[]} levers
 *
 * @typedef {object} Callbacks
 * @property {(wishes: Wishes) => void} begin
 * @property {() => void} cancel
 * @property {() => void} openReport
 * @property {() => void} loadTuned
 */

const OBJECTIVES = ["s_per_img", "j_per_img", "peak_vram"];
const DEFAULT_BUDGET_MIN = 30;
const LONGEST_MIN = 24 * 60;

/**
 * @param {import("./translator.js").Translator} translate
 * @param {() => string} language
 * @param {Callbacks} callbacks
 */
export function createTunePanel(translate, language, callbacks) {
  const objective = make("select", "", ...OBJECTIVES.map((name) => option(name, translate(name))));
  const budget = make("input");
  Object.assign(budget, { type: "number", min: "1", max: `${LONGEST_MIN}`, step: "1" });
  budget.value = `${DEFAULT_BUDGET_MIN}`;
  const levers = make("fieldset", "", make("legend", "", translate("levers")));
  const begin = createButton(translate("begin"), send);
  const form = make(
    "div",
    "wattbench-tune-form",
    make("label", "", translate("objective"), objective),
    make("label", "", translate("budget"), budget),
    levers,
    begin,
  );
  const cancel = createButton(translate("cancel"), callbacks.cancel);
  const report = createButton(translate("open_report"), callbacks.openReport);
  const tuned = createButton(translate("load_tuned"), callbacks.loadTuned);
  const status = make("p", "wattbench-tune-status");
  status.setAttribute("role", "status");
  const bar = make("progress");
  bar.setAttribute("aria-label", translate("progress"));
  const line = make("p", "wattbench-tune-line");
  const rows = make("tbody");
  const headings = ["candidate", "ratio"].map((key) => header(translate(key), "col"));
  const table = make(
    "table",
    "wattbench-tune-rows",
    make("caption", "", translate("candidates")),
    make("thead", "", make("tr", "", ...headings)),
    rows,
  );
  const element = make(
    "section",
    "wattbench-tune",
    make("h2", "", translate("title")),
    make("p", "", translate("explanation")),
    form,
    make("div", "wattbench-buttons", cancel, report, tuned),
    status,
    bar,
    line,
    table,
  );
  element.setAttribute("aria-label", translate("title"));

  function send() {
    const chosen = [...levers.querySelectorAll("input")].filter((box) => box.checked);
    const budget_min = budget.valueAsNumber;
    if (!(budget_min > 0 && budget_min <= LONGEST_MIN) || !chosen.length) {
      status.textContent = translate("incomplete");
      return;
    }
    callbacks.begin({
      objective: objective.value,
      budget_min,
      levers: chosen.map((box) => box.value),
    });
  }

  return {
    element,
    focus: () => begin.focus(),

    /** @param {string} text What went wrong on the way to the server. */
    complain(text) {
      status.textContent = translate(text);
    },

    /** @param {Record<string, {available: boolean}[]>} offered The levers of this machine. */
    offer(offered) {
      const names = Object.keys(offered).filter(
        (name) => name !== "launch" && offered[name].some((level) => level.available),
      );
      levers.replaceChildren(levers.firstElementChild ?? "", ...names.map(leverBox));
    },

    /** @param {Told} told */
    show(told) {
      const isBusy = told.state === "running" || told.state === "cancelling";
      const { image, end } = told.events;
      form.hidden = isBusy;
      cancel.hidden = told.state !== "running";
      report.hidden = isBusy || !told.results.includes("report");
      tuned.hidden = isBusy || !told.results.includes("tuned");
      bar.hidden = !isBusy;
      line.hidden = !isBusy;
      const text = [translate(`state_${told.state}`), end?.verdict ?? "", translate(told.error)];
      setText(status, text.filter(Boolean).join(" "));
      if (image) {
        bar.max = image.budget_s;
        bar.value = Math.min(image.elapsed_s, image.budget_s);
        setText(line, lineOf(image));
      } else {
        bar.removeAttribute("value");
        setText(line, "");
      }
      const candidates = end?.candidates ?? image?.candidates ?? [];
      table.hidden = !candidates.length;
      rows.replaceChildren(...candidates.map((one) => row(one, isBusy ? image?.candidate : "")));
    },
  };

  /** @param {ImageEvent} image */
  function lineOf(image) {
    const left_s = Math.max(0, image.budget_s - image.elapsed_s);
    const parts = [
      `${translate(image.stage)} ${image.block}`,
      image.candidate,
      `${translate("image")} ${image.image}/${image.of}`,
      image.time_s === null ? "" : format.seconds(language(), image.time_s),
      image.energy_j === null ? "" : format.energy(language(), image.energy_j, null),
      `${format.duration(language(), left_s)} ${translate("left")}`,
    ];
    return parts.filter(Boolean).join(" · ");
  }

  /** @param {Candidate} one @param {string | undefined} current */
  function row(one, current) {
    const low = one.ratio_low ?? null;
    const high = one.ratio_high ?? null;
    const number = (/** @type {number} */ value) =>
      value.toLocaleString(language(), { minimumFractionDigits: 3, maximumFractionDigits: 3 });
    const interval = low === null || high === null ? "" : ` [${number(low)}, ${number(high)}]`;
    const ratio = one.ratio === null ? BLANK : `× ${number(one.ratio)}${interval}`;
    const line = make("tr", "", header(one.candidate, "row"));
    line.append(make("td", "", one.fault ? `${translate("out")}: ${translate(one.fault)}` : ratio));
    line.classList.toggle("wattbench-tune-current", one.candidate === current);
    line.classList.toggle("wattbench-tune-out", Boolean(one.fault));
    return line;
  }
}

/** @param {string} name */
function leverBox(name) {
  const box = make("input");
  Object.assign(box, { type: "checkbox", value: name, checked: name !== "compile" });
  return make("label", "", box, name);
}

/** @param {string} value @param {string} text */
function option(value, text) {
  const made = make("option", "", text);
  made.value = value;
  return made;
}

/** @param {string} text @param {"col" | "row"} scope */
function header(text, scope) {
  const made = make("th", "", text);
  made.scope = scope;
  return made;
}

/** @param {Element} element @param {string} text Written only if it differs: readers would say it. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}


