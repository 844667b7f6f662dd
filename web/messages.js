/** Sentences of the server in another language: no ComfyUI in here. */

/** In a template, what stands for a value. */
const VALUE = "…";

/** What the server joins sentences by, or names what one is about. */
const SEPARATOR = /; |: /g;

/**
 * A text is translated where a template fits all of it, then its values are; else its parts are, as far
 * as they can be. So `Board: display active (2 of 9 runs)` needs no template of its own.
 *
 * @param {Record<string, string>} templates Translations by what the server says, with {@link VALUE}
 *   for each value, in the same order in both. Where several fit, that with the most text of its own
 *   counts.
 * @param {(value: string) => string} write A number in the user's language.
 * @returns {(text: string) => string}
 */
export function createMessages(templates, write) {
  const ownText = (/** @type {string} */ source) => source.replaceAll(VALUE, "").length;
  const patterns = Object.entries(templates)
    .sort(([first], [second]) => ownText(second) - ownText(first))
    .map(([source, target]) => /** @type {const} */ ([toPattern(source), target]));

  /** @param {string} text @returns {string | undefined} Undefined where no template fits. */
  function translated(text) {
    for (const [pattern, target] of patterns) {
      const values = text.match(pattern)?.slice(1).map(say);
      if (values) return target.replaceAll(VALUE, () => values.shift() ?? "");
    }
    return undefined;
  }

  /** @param {string} text @returns {string} */
  function say(text) {
    const whole = translated(text);
    if (whole !== undefined) return whole;
    const cuts = [...text.matchAll(SEPARATOR)];
    if (!cuts.length) return write(text);
    const cut = cuts.find(({ index }) => translated(text.slice(0, index)) !== undefined) ?? cuts[0];
    const [head, rest] = [text.slice(0, cut.index), text.slice(cut.index + cut[0].length)];
    return (translated(head) ?? head) + cut[0] + say(rest);
  }

  return say;
}

/** @param {string} template The first value takes as much as it can: endings are the most telling. */
function toPattern(template) {
  const parts = template.split(VALUE).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = parts.join("(.+?)");
  return new RegExp(`^${pattern.replace(/^\(\.\+\?\)/, "(.+)")}$`, "s");
}
