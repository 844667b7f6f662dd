/**
 * "Tune this workflow": a panel in the WattBench tab, and a command that leads there.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addStyleSheet } from "./dom.js";
import { language, loadTranslator } from "./translator.js";
import { createTunePanel } from "./tune_view.js";

const ROUTE = "/wattbench/tune";
const LEVERS_ROUTE = "/wattbench/levers";
const TAB = "wattbench.hud";
const PERIOD_MS = 1000;

const translate = await loadTranslator("tune");
const panel = createTunePanel(translate, language, {
  begin: (wishes) => begin(wishes),
  cancel: () => ask(`${ROUTE}/cancel`, {}),
  openReport: () => window.open(api.apiURL(`${ROUTE}/report`), "_blank", "noopener"),
  loadTuned: () => loadTuned(),
});

/** What the WattBench tab shows below the boards. */
export const tunePanel = panel.element;

/** @type {number | undefined} */
let timer;
let isOffered = false;

/** Called when the tab is opened: what this machine has, and how far a search is. */
export async function follow() {
  if (!isOffered) {
    const answer = await api.fetchApi(LEVERS_ROUTE);
    if (answer.ok) {
      panel.offer(await answer.json());
      isOffered = true;
    }
  }
  await ask(ROUTE);
}

/** Called when the tab is closed: nobody looks. */
export function leave() {
  window.clearTimeout(timer);
}

/** @param {string} path @param {object} [body] Sent where there is one. */
async function ask(path, body) {
  window.clearTimeout(timer);
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  try {
    const answer = await api.fetchApi(path, body ? options : { cache: "no-store" });
    if (!answer.ok) {
      panel.complain(await answer.text());
      return;
    }
    const told = await answer.json();
    panel.show(told);
    if (!["running", "cancelling"].includes(told.state)) return;
  } catch {
    panel.complain("lost");
  }
  timer = window.setTimeout(() => ask(ROUTE), PERIOD_MS);
}

/** @param {import("./tune_view.js").Wishes} wishes */
function begin(wishes) {
  return ask(ROUTE, { workflow: app.rootGraph.serialize(), ...wishes });
}

async function loadTuned() {
  const answer = await api.fetchApi(`${ROUTE}/tuned`, { cache: "no-store" });
  if (answer.ok) await app.loadGraphData(await answer.json());
  else panel.complain(await answer.text());
}

app.registerExtension({
  name: "WattBench.Tune",

  commands: [
    {
      id: "WattBench.Tune",
      label: translate("command"),
      icon: "pi pi-bolt",
      async function() {
        if (!tunePanel.isConnected) {
          await app.extensionManager.command.execute(`Workspace.ToggleSidebarTab.${TAB}`);
        }
        requestAnimationFrame(() => {
          tunePanel.scrollIntoView();
          panel.focus();
        });
      },
    },
  ],

  menuCommands: [{ path: ["Extensions"], commands: ["WattBench.Tune"] }],

  init() {
    addStyleSheet("tune.css");
  },
});
