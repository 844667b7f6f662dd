/** Buttons that take a result out of the page: no ComfyUI in here. */

import { make } from "./dom.js";

/**
 * @param {import("./translator.js").Translator} translate
 * @param {() => string} markdown
 * @param {() => string} csv
 */
export function createActions(translate, markdown, csv) {
  const status = make("span", "wattbench-status");
  status.setAttribute("role", "status");
  const copyButton = createButton(translate("copy"), async () => {
    const isCopied = await copy(markdown(), copyButton);
    status.textContent = translate(isCopied ? "copied" : "not_copied");
  });
  const saveButton = createButton(translate("save"), () => {
    save(csv());
    status.textContent = "";
  });
  return make("div", "wattbench-actions", copyButton, saveButton, status);
}

/** @param {string} text @param {() => void} onClick */
function createButton(text, onClick) {
  const button = make("button", "wattbench-button", text);
  button.type = "button";
  button.addEventListener("click", onClick);
  return button;
}

/**
 * Put text on the clipboard. Browsers offer their clipboard only to pages from this machine or over
 * HTTPS; elsewhere, as on a ComfyUI in the local network, the older command still works.
 *
 * @param {string} text
 * @param {HTMLElement} button Gets the focus back.
 * @returns {Promise<boolean>} Whether it worked.
 */
async function copy(text, button) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  }
  const field = make("textarea", "wattbench-clipboard");
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  button.focus();
  return isCopied;
}

/** @param {string} text Of a CSV file, for the browser to save. */
function save(text) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "wattbench.csv";
  link.click();
  URL.revokeObjectURL(link.href);
}
