/** The result card, and the comparison of conditions on one axis: no ComfyUI in here. */

import { make } from "./dom.js";
import * as format from "./format.js";
import { BLANK } from "./tables.js";

/**
 * As report/shown.py has it. A value that was not measured has a reason and nothing else.
 *
 * @typedef {{text?: string, half?: string, value?: number, low?: number | null,
 *   high?: number | null, reason?: string}} Value
 * @typedef {{name: string, unit: string, axis: number[] | null, values: Value[],
 *   parts: Record<string, number>[], parts_axis: number[] | null}} Measure
 * @typedef {{row: number, common: string, labels: string[], where: string, verdict: string[],
 *   asides: string[], winners: number[],
 *   vram_total: number | null, energy_from: string, measures: Measure[]}} Glance
 * All conditions of this result and of a file beside it, as report/beside.py has them; `files` has 0
 * for a condition of this result.
 *
 * @typedef {{name: string, unit: string, axis: number[] | null, values: Value[], note?: string}} Dotted
 * @typedef {{name: string, labels: string[], files: number[], measures: Dotted[]}} Both
 * @typedef {{filename: string, subfolder: string, type: string}} Picture
 *
 * @typedef {import("./translator.js").Translator} Translator
 */

const PHASES = ["text_encode", "denoise", "decode"];

/**
 * @param {Glance} glance
 * @param {string[]} troubles Why runs failed.
 * @param {string | undefined} picture The address of the picture of the condition on the card.
 * @param {Translator} translate
 * @param {string} language
 */
export function createCard(glance, troubles, picture, translate, language) {
  const { row, common, labels, where, verdict, asides } = glance;
  const facts = make(
    "div",
    "wattbench-facts",
    ...verdict.map((text) => make("p", "wattbench-lead", translate(text))),
  );
  const label = labels.length > 1 ? `${labels[row]}: ` : "";
  facts.append(
    make("p", "wattbench-quiet", make("strong", "", label), common),
    createFigures(glance, translate, language),
    ...unique(glance.measures.map(({ values }) => values[row].reason)).map((reason) =>
      make("p", "wattbench-why", `${BLANK} ${translate(reason)}`),
    ),
    ...(where ? [make("p", "wattbench-where", translate(where))] : []),
    ...troubles.map((text) => make("p", "wattbench-trouble", translate(text))),
    ...asides.map((text) => make("p", "wattbench-quiet", translate(text))),
  );
  const card = make("section", "wattbench-card", facts);
  card.setAttribute("aria-label", translate("card"));
  if (picture) {
    const image = make("img", "wattbench-picture");
    image.src = picture;
    image.alt = translate("picture");
    card.prepend(image);
  }
  return card;
}

/** @param {Glance} glance @param {Translator} translate @param {string} language */
function createFigures({ row, measures, vram_total, energy_from }, translate, language) {
  const names = {
    s_per_img: translate("time_per_image"),
    j_per_img: translate("energy_per_image"),
    peak_vram_bytes: translate("peak_vram"),
  };
  const total =
    vram_total === null
      ? ""
      : `${translate("of")} ${format.number(language, vram_total, 1)} GiB`;
  const method = energy_from.replace(/\((\w+)\)$/, (_, word) => `(${translate(word)})`);
  const beside = { s_per_img: "", j_per_img: method, peak_vram_bytes: total };
  const order = ["s_per_img", "j_per_img", "peak_vram_bytes"];
  const sorted = [...measures].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const figures = sorted.map(({ name, unit, values }) => {
    const { text, half } = values[row];
    const key = /** @type {keyof typeof names} */ (name);
    const value = text === undefined ? BLANK : `${format.cell(language, text)} ${unit}`;
    const spread = half ? `± ${format.cell(language, half)}` : "";
    const rest = text === undefined ? "" : [spread, beside[key]].filter(Boolean).join(" · ");
    return make(
      "div",
      "",
      make("dt", "", names[key] ?? name),
      make("dd", "", make("strong", "", value), " ", make("span", "", rest)),
    );
  });
  return make("dl", "wattbench-figures", ...figures);
}

/**
 * All conditions on one axis, one measure at a time; where its time and energy go as bars.
 *
 * @param {Glance} glance
 * @param {(string | undefined)[]} pictures Addresses, one for each condition.
 * @param {Translator} translate
 * @param {string} language
 * @param {Both} [both] With a file beside it: its conditions are dots on the same axis.
 * @returns {HTMLElement[]} Nothing where there is nothing to draw.
 */
export function createComparison(glance, pictures, translate, language, both) {
  const isAlone = glance.labels.length === 1 && !both;
  const dotted = new Map(
    (both ?? glance).measures.filter(({ axis }) => axis).map((one) => [one.name, one]),
  );
  const shown = glance.measures.filter(({ name, parts_axis }) =>
    isAlone ? parts_axis : dotted.has(name),
  );
  if (!shown.length) return [];
  const names = {
    s_per_img: translate("seconds"),
    j_per_img: translate("joules"),
    peak_vram_bytes: translate("vram"),
  };
  const panel = make("div", "wattbench-panel");
  const buttons = shown.map((measure) => {
    const key = /** @type {keyof typeof names} */ (measure.name);
    const button = make("button", "wattbench-choice", names[key] ?? measure.name);
    button.type = "button";
    button.addEventListener("click", () => show(measure));
    return button;
  });

  /** @param {Measure} measure */
  function show(measure) {
    buttons.forEach((button, i) =>
      button.setAttribute("aria-pressed", `${shown[i] === measure}`),
    );
    const dots = isAlone ? undefined : dotted.get(measure.name);
    panel.replaceChildren(
      ...(dots ? [createDots(both ?? glance, dots, pictures, translate, language)] : []),
      ...createBars(glance, measure, both ? `${translate("this_result")}: ` : "", translate, language),
    );
  }

  show(shown[0]);
  const choices = make("div", "wattbench-choices", ...buttons);
  choices.setAttribute("role", "group");
  choices.setAttribute("aria-label", translate("measure"));
  const element = make("section", "wattbench-comparison", panel);
  if (shown.length > 1) element.prepend(choices);
  element.setAttribute("aria-label", translate(isAlone ? "where_it_goes" : "comparison"));
  return [element];
}

/**
 * @param {{labels: string[], winners?: number[], files?: number[], name?: string}} conditions
 * @param {Dotted} measure
 * @param {(string | undefined)[]} pictures
 * @param {Translator} translate
 * @param {string} language
 */
function createDots({ labels, winners, files, name }, measure, pictures, translate, language) {
  const { unit, values } = measure;
  const axis = measure.axis ?? [0, 1];
  const sources = [translate("this_result"), name ?? ""];
  const at = placeOn(axis);
  const lines = values.flatMap((found, i) => {
    const marks = [];
    if (found.low != null && found.high != null) {
      const interval = make("span", "wattbench-spread");
      interval.style.left = `${at(found.low)}%`;
      interval.style.width = `${at(found.high) - at(found.low)}%`;
      marks.push(interval);
    }
    if (found.value !== undefined) {
      const dot = make("span", "wattbench-dot");
      dot.style.left = `${at(found.value)}%`;
      marks.push(dot);
    }
    const half = found.half ? ` ± ${format.cell(language, found.half)}` : "";
    const value =
      found.text === undefined ? BLANK : `${format.cell(language, found.text)}${half} ${unit}`;
    const source = files ? sources[files[i]] : "";
    const label = [source, labels[i]].filter(Boolean).join(": ");
    const line = createLine(labels[i] || source, files?.[i] ? undefined : pictures[i], marks, value);
    const spread =
      found.low != null && found.high != null
        ? ` (${translate("interval")}: ${short(language, found.low)} – ${short(language, found.high)})`
        : "";
    line.title = `${label}: ${found.reason ? translate(found.reason) : value + spread}`;
    if (files?.[i]) line.classList.add("wattbench-other");
    if (winners?.includes(i)) line.classList.add("wattbench-best");
    const isFirst = files && files[i] !== files[i - 1] && labels[i];
    return isFirst ? [make("li", "wattbench-source", source), line] : [line];
  });
  const list = make("ul", "wattbench-lines", ...lines, createScale(axis, unit, language));
  const title = make("figcaption", "", `${unit}: ${translate("dots")}`);
  const figure = make("figure", "", title, list);
  const notes = [
    axis[0] > 0 ? translate("not_from_zero") : "",
    measure.note ? translate(measure.note) : "",
  ].filter(Boolean);
  figure.append(...notes.map((note) => make("p", "wattbench-quiet", note)));
  return figure;
}

/**
 * What an image takes, phase by phase, all bars on one scale from 0.
 *
 * @param {Glance} glance
 * @param {Measure} measure
 * @param {string} source Whose bars these are, before the title.
 * @param {Translator} translate
 * @param {string} language
 * @returns {HTMLElement[]}
 */
function createBars({ labels, common }, { unit, parts, parts_axis }, source, translate, language) {
  if (!parts_axis) return [];
  const at = placeOn(parts_axis);
  const names = {
    text_encode: translate("phase_text_encode"),
    denoise: translate("phase_denoise"),
    decode: translate("phase_decode"),
  };
  const isAlone = labels.length === 1;
  const lines = parts.map((row, i) => {
    const total = PHASES.reduce((sum, name) => sum + Math.max(0, row[name] ?? 0), 0);
    const told = PHASES.filter((name) => name in row).map((name) => {
      const key = /** @type {keyof typeof names} */ (name);
      const share = total ? ` (${format.number(language, (100 * row[name]) / total, 0)} %)` : "";
      return { name, text: `${names[key]} ${short(language, row[name])} ${unit}${share}` };
    });
    const bars = told.map(({ name, text }) => {
      const bar = make("span", `wattbench-bar wattbench-${name}`);
      bar.style.width = `${at(Math.max(0, row[name])) - at(0)}%`;
      bar.title = text;
      return bar;
    });
    const label = isAlone ? translate("image") : labels[i];
    const value = told.length ? `${short(language, total)} ${unit}` : BLANK;
    const line = createLine(label, undefined, bars, value);
    line.append(make("span", "wattbench-unseen", told.map(({ text }) => text).join(", ")));
    line.title = `${isAlone ? common : label}: ${told.map(({ text }) => text).join(", ")}`;
    return line;
  });
  const legend = PHASES.map((name) => {
    const swatch = make("span", `wattbench-swatch wattbench-${name}`);
    return make("li", "", swatch, names[/** @type {keyof typeof names} */ (name)]);
  });
  return [
    make(
      "figure",
      "",
      make("figcaption", "", `${source}${unit}: ${translate("bars")}`),
      make("ul", "wattbench-lines", ...lines, createScale(parts_axis, unit, language)),
      make("ul", "wattbench-legend", ...legend),
    ),
  ];
}

/**
 * @param {string} label
 * @param {string | undefined} picture
 * @param {HTMLElement[]} marks
 * @param {string} value
 */
function createLine(label, picture, marks, value) {
  const name = make("span", "wattbench-name");
  if (picture) {
    const image = make("img", "wattbench-thumb");
    image.src = picture;
    image.alt = "";
    name.append(image);
  }
  name.append(label);
  const track = make("span", "wattbench-track", ...marks);
  track.setAttribute("aria-hidden", "true");
  return make("li", "", name, track, make("span", "wattbench-amount", value));
}

/** @param {number[]} axis @param {string} unit @param {string} language */
function createScale(axis, unit, language) {
  const at = placeOn(axis);
  const ticks = axis.map((value) => {
    const tick = make("span", "wattbench-tick", short(language, value));
    tick.style.left = `${at(value)}%`;
    return tick;
  });
  const line = createLine("", undefined, ticks, unit);
  line.className = "wattbench-scale";
  line.setAttribute("aria-hidden", "true");
  return line;
}

/** @param {number[]} axis @returns {(value: number) => number} Percents from its begin. */
function placeOn(axis) {
  const [low, high] = [axis[0], axis[axis.length - 1]];
  return (value) => Number(((100 * (value - low)) / (high - low)).toFixed(3));
}

/** @param {string} language @param {number} value */
function short(language, value) {
  return value.toLocaleString(language, { maximumSignificantDigits: 4, useGrouping: false });
}

/** @param {(string | undefined)[]} texts @returns {string[]} */
function unique(texts) {
  return [...new Set(texts.filter((text) => text !== undefined))];
}
