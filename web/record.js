/**
 * What the last prompts cost, kept by the server: a question once, a setting, a panel in the tab.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addStyleSheet } from "./dom.js";
import { createQuestion, createRecordPanel } from "./record_view.js";
import { language, loadTranslator } from "./translator.js";

const EVENT = "wattbench_history";
const ROUTE = "/wattbench/history";
const KEEP_SETTING = "WattBench.History.Keep";
const MOST_SETTING = "WattBench.History.Prompts";
const DEFAULT_MOST = 100;

/** @param {boolean} isOn */
function keep(isOn) {
  const value = isOn ? "on" : "off";
  app.extensionManager.setting.set(KEEP_SETTING, value);
}

const translate = await loadTranslator("history");
const panel = createRecordPanel(translate, language, {
  keep,
  clear: () => ask({ clear: true }),
  open: () =>
    window.open(api.apiURL(`${ROUTE}/page?language=${language()}`), "_blank", "noopener"),
});

/** What the WattBench tab shows below the boards. */
export const recordPanel = panel.element;

let isReady = false;
let isLooking = false;

/** Called when the tab is opened. */
export function lookAtRecord() {
  isLooking = true;
  ask();
}

/** Called when the tab is closed. */
export function leaveRecord() {
  isLooking = false;
}

/** @param {object} [body] Sent where there is one. */
async function ask(body) {
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  // A server that does not answer is asked again when it is back.
  const answer = await api
    .fetchApi(ROUTE, body ? options : { cache: "no-store" })
    .catch(() => undefined);
  if (answer?.ok) panel.show(await answer.json());
}

/** @param {string} value Of the setting. @param {number} most */
function tellServer(value, most) {
  if (isReady && value !== "ask") ask({ most: value === "on" ? most : 0 });
}

const kept = () => app.extensionManager.setting.get(KEEP_SETTING);
const most = () => app.extensionManager.setting.get(MOST_SETTING) ?? DEFAULT_MOST;

function askUser() {
  if (kept() !== "ask" || document.querySelector(".wattbench-question")) return;
  document.body.append(createQuestion(translate, keep));
}

app.registerExtension({
  name: "WattBench.History",

  settings: [
    {
      id: KEEP_SETTING,
      category: ["WattBench", "History", "Keep"],
      name: "Keep what the last prompts cost, without their texts",
      type: "combo",
      options: ["ask", "on", "off"],
      defaultValue: "ask",
      // The setting itself changes after this call.
      onChange: (/** @type {string} */ value) => tellServer(value, most()),
    },
    {
      id: MOST_SETTING,
      category: ["WattBench", "History", "Prompts"],
      name: "How many prompts are kept",
      type: "slider",
      attrs: { min: 10, max: 1000, step: 10 },
      defaultValue: DEFAULT_MOST,
      onChange: (/** @type {number} */ value) => tellServer(kept(), value),
    },
  ],

  setup() {
    addStyleSheet("record.css");
    isReady = true;
    api.addEventListener(EVENT, () => isLooking && ask());
    api.addEventListener("execution_success", askUser);
    // A server that was restarted has forgotten; another page may want it: none is told to stop.
    const remind = () => kept() === "on" && tellServer("on", most());
    api.addEventListener("reconnected", remind);
    remind();
  },
});
