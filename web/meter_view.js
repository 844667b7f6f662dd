/** A dialog in which a meter is chosen: what `wattbench doctor` finds, or a free text; no ComfyUI in here. */

import { createButton, make } from "./dom.js";

/**
 * @typedef {import("./hud_view.js").Offer} Offer
 * @typedef {import("./translator.js").Translator} Translator
 */

const AUTO = "auto";

/**
 * @param {Offer[]} offers What could measure this machine.
 * @param {string} value What is set.
 * @param {Translator} translate
 * @param {(value: string) => void} choose Called where one is chosen.
 * @returns {HTMLDialogElement} Not shown yet; it removes itself when it is closed.
 */
export function createMeterDialog(offers, value, translate, choose) {
  const free = make("input", "wattbench-meter-text");
  free.type = "text";
  free.value = value;
  free.setAttribute("aria-label", translate("free"));
  const auto = { name: AUTO, description: translate("auto"), available: true, reason: "", remedy: "" };
  const rows = [auto, ...offers].map((offer) => {
    const radio = make("input");
    radio.type = "radio";
    radio.name = "wattbench-meter";
    radio.disabled = !offer.available;
    radio.checked = offer.available && offer.name === value;
    radio.addEventListener("change", () => (free.value = offer.name));
    const said = offer.available ? [offer.description] : [offer.reason, offer.remedy];
    const text = said.filter(Boolean).map(translate).join(". ");
    return make("label", "", radio, make("strong", "", offer.name), ` ${text}`);
  });
  const title = make("h2", "", translate("title"));
  title.id = "wattbench-meter-title";
  const cancel = createButton(translate("cancel"), () => dialog.close());
  const accept = make("button", cancel.className, translate("accept"));
  const form = make(
    "form",
    "",
    title,
    make("div", "wattbench-meter-list", ...rows),
    make("label", "", `${translate("free")} `, free),
    make("div", "wattbench-buttons", accept, cancel),
  );
  form.method = "dialog";
  form.addEventListener("submit", () => choose(free.value.trim() || AUTO));
  const dialog = make("dialog", "wattbench-meter", form);
  dialog.setAttribute("aria-labelledby", title.id);
  dialog.addEventListener("close", () => dialog.remove());
  return dialog;
}
