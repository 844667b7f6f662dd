/** One condition's steps as a line, its repeats as dots: plain SVG, no motion. */

import { make, makeSvg } from "./dom.js";
import * as format from "./format.js";

/**
 * As analysis/series.py has it.
 *
 * @typedef {{unit: string, values: number[], mean: number, low: number | null, high: number | null}} Repeats
 * @typedef {{step_times_s: number[], repeats: Repeats[]}} Series
 *
 * @typedef {import("./translator.js").Translator} Translator
 */

const WIDTH = 240;
const HEIGHT = 36;
const EDGE = 4;
const GAP = 1;
const DOT = 2.2;

/**
 * Charts of one condition; what has no data has no chart.
 *
 * @param {Series} series
 * @param {Translator} translate
 * @param {string} language
 * @returns {HTMLElement[]}
 */
export function createCharts({ step_times_s, repeats }, translate, language) {
  const repeated = repeats.filter(({ values }) => values.length > 1);
  return [
    ...(step_times_s.length > 1 ? [steps(step_times_s, translate, language)] : []),
    ...repeated.map((metric) => dots(metric, translate, language)),
  ];
}

/**
 * @param {number[]} times_s
 * @param {Translator} translate
 * @param {string} language
 */
function steps(times_s, translate, language) {
  const highest = Math.max(...times_s);
  const points = times_s.map((time_s, i) => {
    const x = EDGE + ((WIDTH - 2 * EDGE) * i) / (times_s.length - 1);
    return `${x.toFixed(1)},${level(time_s, 0, highest)}`;
  });
  const line = makeSvg("polyline", { class: "wattbench-line", points: points.join(" ") });
  const mean_s = times_s.reduce((sum, time_s) => sum + time_s, 0) / times_s.length;
  const text = [
    `${translate("steps")}: ${times_s.length}`,
    `${translate("mean")} ${format.seconds(language, mean_s)}`,
    `${translate("shortest")} ${format.seconds(language, Math.min(...times_s))}`,
    `${translate("longest")} ${format.seconds(language, highest)}`,
  ].join(", ");
  const zero = makeSvg("line", { class: "wattbench-mean", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT });
  return make("figure", "", make("figcaption", "", text), plot(zero, line));
}

/**
 * @param {Repeats} repeats
 * @param {Translator} translate
 * @param {string} language
 */
function dots({ unit, values, mean, low, high }, translate, language) {
  const known = [...values, ...(low === null || high === null ? [] : [low, high])];
  const [bottom, top] = [Math.min(...known), Math.max(...known)];
  const parts = [];
  const write = (/** @type {number} */ value) => format.figures(language, value);
  let text = `${unit}: ${write(mean)}`;
  if (low !== null && high !== null) {
    const [upper, lower] = [level(high, bottom, top), level(low, bottom, top)];
    const height = Math.max(GAP, lower - upper);
    parts.push(
      makeSvg("rect", { class: "wattbench-interval", x: 0, y: upper, width: WIDTH, height }),
    );
    text += ` (${translate("interval")}: ${write(low)} – ${write(high)})`;
  }
  const y = level(mean, bottom, top);
  parts.push(makeSvg("line", { class: "wattbench-mean", x1: 0, x2: WIDTH, y1: y, y2: y }));
  values.forEach((value, i) => {
    const cx = (WIDTH * (i + 0.5)) / values.length;
    const cy = level(value, bottom, top);
    parts.push(makeSvg("circle", { class: "wattbench-dot", cx, cy, r: DOT }));
  });
  text += `, ${translate("repeats")}: ${values.length}, ${write(Math.min(...values))} – ${write(
    Math.max(...values),
  )}`;
  return make("figure", "", make("figcaption", "", text), plot(...parts));
}

/**
 * Where a value stands between the lowest and the highest, in the drawing's units from its top.
 *
 * @param {number} value
 * @param {number} bottom
 * @param {number} top
 */
function level(value, bottom, top) {
  const share = top > bottom ? (value - bottom) / (top - bottom) : 0.5;
  return Number((HEIGHT - EDGE - share * (HEIGHT - 2 * EDGE)).toFixed(1));
}

/** @param {SVGElement[]} parts What they show stands above them as text. */
function plot(...parts) {
  return makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }, ...parts);
}
