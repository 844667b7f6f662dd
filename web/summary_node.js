/**
 * The body of Show Summary: the card, tables and charts that the node's last execution gave.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addStyleSheet } from "./dom.js";
import { resultNode } from "./result_node.js";
import { renderSummary } from "./summary_view.js";
import { language, loadTranslator } from "./translator.js";

/** @param {import("./card_view.js").Picture} picture */
const addressOf = ({ filename, subfolder, type }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);

const translate = await loadTranslator("summary");

/** @param {string} promptId */
async function leftOf(promptId) {
  const response = await api.fetchApi(`/wattbench/runs/${promptId}`);
  const { count, summary } = response.ok ? await response.json() : { count: 0 };
  if (!count) return undefined;
  const label = `${translate("left_before")} ${count} ${translate("left_after")}`;
  return { label, result: summary };
}

/** @type {import("./beside_view.js").Compare} */
async function compare(own, file) {
  const response = await api.fetchApi("/wattbench/beside", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ own, other: await file.text(), name: file.name }),
  });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

app.registerExtension({
  name: "WattBench.Summary",

  setup() {
    addStyleSheet("card.css");
    addStyleSheet("summary.css");
  },

  ...resultNode({
    nodeId: "WattBenchShowSummary",
    output: "wattbench_summary",
    className: "wattbench-summary",
    empty: () => translate("empty"),
    leftOf,
    render: (summary) => renderSummary(summary, translate, language(), addressOf, compare),
  }),
});
