/** The pack's texts in the user's language, from locales/<language>/main.json. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const FALLBACK = "en";
const COMMON = "common";

/**
 * A text of the pack by its key; a key that no language has comes back as it is.
 *
 * @typedef {(key: string) => string} Translator
 */

/** @returns {string} The language that the user has set, for example `pt-BR`. */
export function language() {
  return app.extensionManager.setting.get("Comfy.Locale") ?? FALLBACK;
}

/**
 * @param {string} [section] The part of `wattbench` in main.json that holds the texts; what it lacks
 *   is in the part `common`.
 * @returns {Promise<Translator>} A translator that follows the language setting.
 */
export async function loadTranslator(section = COMMON) {
  /** @type {Record<string, any>} */
  const messages = await api.getCustomNodesI18n();
  return (key) => {
    const parts = [language(), FALLBACK].map((code) => messages[code]?.wattbench);
    const texts = parts.flatMap((part) => [part?.[section]?.[key], part?.[COMMON]?.[key]]);
    return texts.find((text) => text !== undefined) ?? key;
  };
}
