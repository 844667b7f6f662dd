/** A small chart of one value over the last minutes: one SVG path, no animation. */

import { makeSvg } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 36;
const SPAN_S = 120;

/** A line is broken where readings lie further apart than this many intervals: nobody looked. */
const GAP_INTERVALS = 3.5;

/**
 * @typedef {object} Chart
 * @property {SVGSVGElement} element
 * @property {(time_s: number, value: number | null, full: number | null, intervalS: number) => number} add
 *   Add a value; the top of the chart, which is given back, is `full`, or the highest value where that
 *   is larger.
 */

/** @returns {Chart} */
export function createChart() {
  const line = makeSvg("path", {});
  const element = makeSvg(
    "svg",
    {
      class: "wattbench-chart",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      // The value stands beside it as text.
      "aria-hidden": "true",
    },
    line,
  );
  /** @type {{time_s: number, value: number | null}[]} */
  let points = [];
  return {
    element,
    add(time_s, value, full, intervalS) {
      points.push({ time_s, value });
      points = points.filter((point) => time_s - point.time_s <= SPAN_S);
      const top = Math.max(full ?? 0, ...points.map((point) => point.value ?? 0)) || 1;
      line.setAttribute("d", path(points, time_s, top, GAP_INTERVALS * intervalS));
      return top;
    },
  };
}

/**
 * @param {{time_s: number, value: number | null}[]} points
 * @param {number} now_s
 * @param {number} top
 * @param {number} gap_s
 */
function path(points, now_s, top, gap_s) {
  let previous_s = -Infinity;
  return points
    .filter((point) => point.value !== null)
    .map(({ time_s, value }) => {
      const x = WIDTH * (1 - (now_s - time_s) / SPAN_S);
      const y = 1 + (HEIGHT - 2) * (1 - Number(value) / top);
      const pen = time_s - previous_s > gap_s ? "M" : "L";
      previous_s = time_s;
      return `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join("");
}
