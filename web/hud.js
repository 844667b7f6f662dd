/**
 * The HUD: a sidebar tab with the state of each board, and a badge in the top bar.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addStyleSheet, make } from "./dom.js";
import { createFeed } from "./hud_feed.js";
import { badgeText, createPanel, deviceName } from "./hud_view.js";
import { leaveRecord, lookAtRecord, recordPanel } from "./record.js";
import { BLANK } from "./tables.js";
import { language, loadTranslator } from "./translator.js";
import { follow, leave, tunePanel } from "./tune.js";

const ROUTE = "/wattbench/live";
const EVENT = "wattbench_live";
const METERS_ROUTE = "/wattbench/meters";
const TAB = "wattbench.hud";
const BADGE_SETTING = "WattBench.HUD.Badge";
const INTERVAL_SETTING = "WattBench.HUD.Interval";
const DEFAULT_INTERVAL_S = 1;

/** The page's cost is the mean over this many readings. */
const COST_READINGS = 10;

/** How a text begins that says how far an experiment is: `run 3/12 · step 14/30 · 41 J so far`. */
const PROGRESS = /^run \d+\/\d+/;

const ENDS = ["execution_success", "execution_error", "execution_interrupted"];

const translate = await loadTranslator("hud");
const panel = createPanel(translate, language);
const badgeLine = make("span", "wattbench-badge-line");
const badge = createBadge();
const pageCost = createCost();

let isTabOpen = false;
let hasAsked = false;
let isBadgeWanted = true;

const feed = createFeed({
  post: (body, signal) =>
    api.fetchApi(ROUTE, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    }),
  isWanted: () => isTabOpen || isBadgeWanted,
  socket: () => api.clientId,
  intervalS,
  onState: show,
  onStatus(status) {
    panel.setStatus(status);
    if (status !== "live") writeBadge(BLANK, [translate(`status_${status}`)]);
  },
});

function intervalS() {
  return app.extensionManager.setting.get(INTERVAL_SETTING) ?? DEFAULT_INTERVAL_S;
}

/** @param {import("./hud_feed.js").State} state */
function show(state) {
  const start_ms = performance.now();
  // A panel that is not on the page is written too: its charts are there when it is opened.
  panel.show(state, start_ms / 1000, intervalS(), pageCost.share());
  const [device] = state.devices;
  if (!device.meter) findOut();
  const text = badgeText(device, state.job, translate, language());
  if (isBadgeWanted) writeBadge(text, [deviceName(device), text, translate(device.power_reason)]);
  pageCost.add(start_ms, performance.now() - start_ms);
}

/** Ask once what could measure this machine. */
async function findOut() {
  if (hasAsked) return;
  hasAsked = true;
  const response = await api.fetchApi(METERS_ROUTE).catch(() => undefined);
  if (response?.ok) panel.setFindings(await response.json());
  else hasAsked = false;
}

function createBadge() {
  const icon = make("i", "pi pi-bolt");
  icon.setAttribute("aria-hidden", "true");
  const button = make("button", "wattbench-badge", icon, badgeLine);
  button.type = "button";
  button.addEventListener("click", () =>
    app.extensionManager.command.execute(`Workspace.ToggleSidebarTab.${TAB}`),
  );
  return button;
}

/** @param {string} text @param {string[]} details What it is of, and why a part of it is missing. */
function writeBadge(text, details) {
  if (badgeLine.textContent !== text) badgeLine.textContent = text;
  const label = [translate("badge_label"), ...details].filter(Boolean).join(": ");
  if (badge.title !== label) badge.title = label;
}

/** Shares of one core that this page's own work takes; the browser's painting is not in it. */
function createCost() {
  /** @type {{start_ms: number, spent_ms: number}[]} */
  let spans = [];
  return {
    /** @param {number} start_ms @param {number} spent_ms */
    add(start_ms, spent_ms) {
      spans = [...spans, { start_ms, spent_ms }].slice(-COST_READINGS);
    },
    share() {
      if (spans.length < COST_READINGS) return null;
      const spent_ms = spans.reduce((sum, span) => sum + span.spent_ms, 0);
      return spent_ms / (performance.now() - spans[0].start_ms);
    },
  };
}

/** @param {boolean} isWanted */
function setBadge(isWanted) {
  isBadgeWanted = isWanted;
  badge.hidden = !isWanted;
  feed.update();
}

app.registerExtension({
  name: "WattBench.HUD",

  settings: [
    {
      id: BADGE_SETTING,
      category: ["WattBench", "HUD", "Badge"],
      name: "Show power, VRAM and temperature in the top bar",
      type: "boolean",
      defaultValue: true,
      onChange: setBadge,
    },
    {
      id: INTERVAL_SETTING,
      category: ["WattBench", "HUD", "Interval"],
      name: "Seconds between readings",
      type: "combo",
      options: [
        { text: "0.5", value: 0.5 },
        { text: "1", value: 1 },
        { text: "2", value: 2 },
        { text: "5", value: 5 },
      ],
      defaultValue: DEFAULT_INTERVAL_S,
    },
  ],

  init() {
    addStyleSheet("hud.css");
  },

  setup() {
    app.extensionManager.registerSidebarTab({
      id: TAB,
      icon: "pi pi-bolt",
      title: translate("title"),
      // Under the icon, where there is little room.
      label: translate("short_title"),
      tooltip: translate("tooltip"),
      type: "custom",
      /** @param {HTMLElement} container */
      render(container) {
        container.replaceChildren(panel.element, recordPanel, tunePanel);
        isTabOpen = true;
        follow();
        lookAtRecord();
        feed.update();
      },
      destroy() {
        isTabOpen = false;
        leave();
        leaveRecord();
        feed.update();
      },
    });
    app.menu.settingsGroup.element.before(badge);
    api.addEventListener("reconnected", () => feed.retry());
    api.addEventListener("progress_text", (/** @type {CustomEvent} */ { detail }) => {
      if (PROGRESS.test(detail.text)) panel.setProgress(detail.text);
    });
    for (const end of ENDS) api.addEventListener(end, () => panel.setProgress(""));
    api.addEventListener(EVENT, (/** @type {CustomEvent} */ { detail }) => feed.pushed(detail));
    setBadge(app.extensionManager.setting.get(BADGE_SETTING));
  },
});
