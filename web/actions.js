/** Buttons that take a result out of the page: no ComfyUI in here. */

import { createButton, make } from "./dom.js";

/**
 * @param {import("./translator.js").Translator} translate
 * @param {() => string} markdown
 * @param {() => string} csv
 * @param {() => Promise<Blob>} [png] What can be posted.
 */
export function createActions(translate, markdown, csv, png) {
  const status = make("span", "wattbench-status");
  status.setAttribute("role", "status");
  const copyButton = createButton(translate("copy"), async () => {
    const isCopied = await copy(markdown(), copyButton);
    status.textContent = translate(isCopied ? "copied" : "not_copied");
  });
  const saveButton = createButton(translate("save"), () => {
    save(new Blob([csv()], { type: "text/csv" }), "wattbench.csv");
    status.textContent = "";
  });
  const buttons = [copyButton, saveButton];
  if (png) {
    const imageButton = createButton(translate("copy_image"), async () => {
      const isCopied = await copyImage(await png());
      status.textContent = translate(isCopied ? "copied" : "image_saved");
    });
    buttons.unshift(imageButton);
  }
  return make("div", "wattbench-actions", ...buttons, status);
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

/**
 * Put a picture on the clipboard, or save it where the browser does not offer that.
 *
 * @param {Blob} png
 * @returns {Promise<boolean>} Whether it is on the clipboard.
 */
async function copyImage(png) {
  if (navigator.clipboard?.write) {
    const isCopied = await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]).then(
      () => true,
      () => false,
    );
    if (isCopied) return true;
  }
  save(png, "wattbench.png");
  return false;
}

/** @param {Blob} content @param {string} name For the browser to save it under. */
function save(content, name) {
  const link = make("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
