/**
 * Notes of the pack's templates in the user's language, as long as their text is the pack's.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { app } from "../../scripts/app.js";
import { language } from "./translator.js";

const TRANSLATED = "pt-BR";
const NOTE = "MarkdownNote";

/** What is the same in each language: nothing, or a name alone. */
const UNSPOKEN = /^(- )?(\*\*[^*]+\*\*)?$/;

/** @type {Promise<Record<string, string>> | undefined} English to Portuguese, line by line. */
let lines;

async function loadLines() {
  const response = await fetch(new URL(`notes.${TRANSLATED}.json`, import.meta.url));
  return response.ok ? response.json() : {};
}

/**
 * @param {string} text
 * @param {Map<string, string>} known Lines of one language in the other.
 * @returns {string} The text as it is, where a line is not the pack's.
 */
function translated(text, known) {
  const found = text.split("\n").map((line) => (UNSPOKEN.test(line) ? line : known.get(line)));
  return found.includes(undefined) ? text : found.join("\n");
}

app.registerExtension({
  name: "WattBench.Notes",

  /** @param {{nodes?: any[]}} graph That is about to be opened. */
  async beforeConfigureGraph(graph) {
    const notes = (graph.nodes ?? []).filter(({ type }) => type === NOTE);
    if (!notes.length) return;
    const pairs = Object.entries(await (lines ??= loadLines()));
    const isTranslated = language() === TRANSLATED;
    const known = new Map(
      isTranslated ? pairs : pairs.map(([english, portuguese]) => [portuguese, english]),
    );
    for (const note of notes) {
      const [text] = note.widgets_values ?? [];
      if (typeof text !== "string" || translated(text, known) === text) continue;
      note.widgets_values[0] = translated(text, known);
      note.title = known.get(note.title) ?? note.title;
    }
  },
});
