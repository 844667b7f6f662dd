/**
 * The bodies of Calibrate and Quantization Report: a row for each layer.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { app } from "../../scripts/app.js";
import { resultNode } from "./result_node.js";
import { renderSummary } from "./summary_view.js";
import { language, loadTranslator } from "./translator.js";

const NODE_IDS = ["WattBenchCalibrate", "WattBenchQuantReport"];

const translate = await loadTranslator("layers");

for (const nodeId of NODE_IDS) {
  app.registerExtension({
    name: `WattBench.Layers.${nodeId}`,

    ...resultNode({
      nodeId,
      output: "wattbench_table",
      className: "wattbench-summary",
      empty: () => translate("empty"),
      render: (table) => renderSummary(table, translate, language()),
    }),
  });
}
