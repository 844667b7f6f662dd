/**
 * The bodies of nodes that answer in a few lines.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { app } from "../../scripts/app.js";
import { make } from "./dom.js";
import { SMALL, resultNode } from "./result_node.js";
import { loadTranslator } from "./translator.js";

const NODE_IDS = [
  "WattBenchExportCSV",
  "WattBenchExportReport",
  "WattBenchPredictEnergy",
  "WattBenchQuantizeCheckpoint",
];

const translate = await loadTranslator("text");

for (const nodeId of NODE_IDS) {
  app.registerExtension({
    name: `WattBench.Text.${nodeId}`,

    ...resultNode({
      nodeId,
      output: "text",
      className: "wattbench-text",
      empty: () => translate("empty"),
      render: (/** @type {string} */ text) => {
        const lines = text.split("\n").map((line) => make("p", "", translate(line)));
        // So that the keyboard reaches a text that scrolls.
        lines[0].tabIndex = 0;
        return lines;
      },
      ...SMALL,
    }),
  });
}
