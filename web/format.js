/** Numbers as the pages write them: SI units, in the user's language. */

const GIB = 2 ** 30;
const PREFIXES = /** @type {[number, string][]} */ ([
  [1e6, "M"],
  [1e3, "k"],
  [1, ""],
]);

/**
 * @param {string} language
 * @param {number} value
 * @param {number} decimals
 */
export function number(language, value, decimals) {
  return value.toLocaleString(language, {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
}

/**
 * A number with three significant figures.
 *
 * @param {string} language
 * @param {number} value
 */
export function figures(language, value) {
  return value.toLocaleString(language, {
    minimumSignificantDigits: 3,
    maximumSignificantDigits: 3,
  });
}

/** @param {string} language @param {number} power_w */
export function power(language, power_w) {
  return `${number(language, power_w, power_w < 10 ? 1 : 0)} W`;
}

/** @param {string} language @param {number} bytes */
export function memory(language, bytes) {
  return `${number(language, bytes / GIB, 1)} GiB`;
}

/** @param {string} language @param {number} temperature_c */
export function temperature(language, temperature_c) {
  return `${number(language, temperature_c, 0)} °C`;
}

/** @param {string} language @param {number} clock_hz */
export function clock(language, clock_hz) {
  return `${number(language, clock_hz / 1e6, 0)} MHz`;
}

/**
 * @param {string} language
 * @param {number} energy_j
 * @param {number | null} error_j What the value may be off by.
 */
export function energy(language, energy_j, error_j) {
  const largest = Math.max(Math.abs(energy_j), error_j ?? 0);
  const [factor, prefix] = PREFIXES.find(([size]) => largest >= size) ?? [1, ""];
  const step = error_j || energy_j / 100 || factor;
  const decimals = Math.min(3, Math.max(0, Math.ceil(-Math.log10(step / factor))));
  const value = number(language, energy_j / factor, decimals);
  const error = error_j === null ? "" : ` ± ${number(language, error_j / factor, decimals)}`;
  return `${value}${error} ${prefix}J`;
}

/** @param {string} language @param {number} duration_s */
export function duration(language, duration_s) {
  return `${number(language, duration_s, 1)} s`;
}

/**
 * A time with three significant figures, in milliseconds where it is shorter than a second.
 *
 * @param {string} language
 * @param {number} duration_s
 */
export function seconds(language, duration_s) {
  return duration_s < 1
    ? `${figures(language, 1000 * duration_s)} ms`
    : `${figures(language, duration_s)} s`;
}

/** @param {string} language @param {number} share Without decimals. */
export function share(language, share) {
  return `${number(language, 100 * share, 0)}\u00a0%`;
}

/** @param {string} language @param {number} share */
export function percent(language, share) {
  return `${number(language, 100 * share, 2)}\u00a0%`;
}

/**
 * A cell of a table as the server writes it, `1.50 ± 0.01`, with the decimal sign of a language.
 *
 * @param {string} language
 * @param {string} text
 */
export function cell(language, text) {
  if (!isNumeric(text)) return text;
  const sign = decimalSign(language);
  return text.replace(/(\d)\.(?=\d)/g, `$1${sign}`).replace(" to ", " – ");
}

/**
 * A number as the server writes it, `+1.30%`, `1.5 ± 0.1` or `0.1..0.2`, with the decimal sign of a
 * language; other text as it is.
 *
 * @param {string} language
 * @param {string} text
 */
export function decimal(language, text) {
  const isNumber = /^[-+]?\d+(\.\d+)?(( ± |\.\.)\d+(\.\d+)?)?%?$/.test(text);
  return isNumber ? text.replace(/(\d)\.(?=\d)/g, `$1${decimalSign(language)}`) : text;
}

/** @param {string} language */
function decimalSign(language) {
  return (0.5).toLocaleString(language).charAt(1);
}

/** @param {string} text Of a cell. */
export function isNumeric(text) {
  return /^[-−]?\d/.test(text);
}

/**
 * A moment, or two with what they have in common said once.
 *
 * @param {string} language
 * @param {Date} first
 * @param {Date} last
 */
export function moments(language, first, last) {
  const style = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
  return style.formatRange(first, last);
}
