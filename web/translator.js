/** The pack's texts in the user's language, from locales/<language>/main.json. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import * as format from "./format.js";
import { createMessages } from "./messages.js";

const FALLBACK = "en";
const COMMON = "common";
const MESSAGES = "messages";

/**
 * A text of the pack by its key, or what the server said in the user's language, as far as that is
 * known; the rest comes back as it is.
 *
 * @typedef {(key: string) => string} Translator
 */

/** @returns {string} The language that the user has set, for example `pt-BR`. */
export function language() {
  return app.extensionManager.setting.get("Comfy.Locale") ?? FALLBACK;
}

/**
 * @param {string} [section] The part of `wattbench` in main.json that holds the texts; what it lacks
 *   is in the part `common`, and what the server says in `messages`.
 * @returns {Promise<Translator>} A translator that follows the language setting.
 */
export async function loadTranslator(section = COMMON) {
  /** @type {Record<string, any>} */
  const languages = await api.getCustomNodesI18n();
  /** @type {Map<string, (text: string) => string>} */
  const said = new Map();

  /** @param {string} code */
  function messagesIn(code) {
    const known = said.get(code);
    if (known) return known;
    const templates = languages[code]?.wattbench?.[MESSAGES] ?? {};
    const made = createMessages(templates, (value) => format.decimal(code, value));
    said.set(code, made);
    return made;
  }

  return (key) => {
    const parts = [language(), FALLBACK].map((code) => languages[code]?.wattbench);
    const texts = parts.flatMap((part) => [part?.[section]?.[key], part?.[COMMON]?.[key]]);
    return texts.find((text) => text !== undefined) ?? messagesIn(language())(key);
  };
}
