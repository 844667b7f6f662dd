/**
 * The bodies of Calibrate and Quantization Report: a row for each layer.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { app } from "../../scripts/app.js";
import { addStyleSheet } from "./dom.js";
import { resultNode } from "./result_node.js";
import { createSummaryView } from "./summary_view.js";
import { language, loadTranslator } from "./translator.js";

const NODE_IDS = ["WattBenchCalibrate", "WattBenchQuantReport"];

const translate = await loadTranslator("layers");

for (const nodeId of NODE_IDS) {
  app.registerExtension({
    name: `WattBench.Layers.${nodeId}`,

    init() {
      addStyleSheet("result.css");
      addStyleSheet("summary.css");
    },

    ...resultNode({
      nodeId,
      output: "wattbench_table",
      createView: () => createSummaryView(translate, language),
    }),
  });
}
