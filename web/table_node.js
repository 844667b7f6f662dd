/**
 * The bodies of nodes that answer with a table: a row for each layer, or for each kernel.
 *
 * ComfyUI loads every module of this folder as an extension; this one registers itself.
 */

import { app } from "../../scripts/app.js";
import { resultNode } from "./result_node.js";
import { renderSummary } from "./summary_view.js";
import { language, loadTranslator } from "./translator.js";

const CAPTIONS = {
  WattBenchCalibrate: () => translate("layers"),
  WattBenchQuantReport: () => translate("layers"),
  WattBenchAttentionInfo: () => translate("kernels"),
};

const translate = await loadTranslator("tables");

for (const [nodeId, caption] of Object.entries(CAPTIONS)) {
  app.registerExtension({
    name: `WattBench.Layers.${nodeId}`,

    ...resultNode({
      nodeId,
      output: "wattbench_table",
      className: "wattbench-summary",
      empty: () => translate("empty"),
      render: (table) =>
        renderSummary(
          table,
          (key) => (key === "caption" ? caption() : translate(key)),
          language(),
        ),
    }),
  });
}
