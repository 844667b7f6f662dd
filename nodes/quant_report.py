"""What became of a model's layers, as a table, a CSV and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..hosts.comfyui.describe import architecture_of
from ..hosts.comfyui.new_files import file_name, shown_progress
from ..hosts.comfyui.quantized.files import NO_FILE, model_files, path_of
from ..hosts.comfyui.quantized.report import report_model
from ..hosts.comfyui.workspace import folder_in_output
from ..quant.report import QuantReport, report_file
from ..quant.tables import HEADINGS, notes, rows, write_csv
from .output import listed
from .table import shown_table
from .types import CATEGORY, refused


class WattBenchQuantReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchQuantReport",
            display_name="Quantization Report (WattBench)",
            category=CATEGORY,
            description=(
                "Says for each layer of a model or of a file its format, bytes and error against a "
                "reference, and how its products were really computed: native, emulated or "
                "dequantized. Writes a CSV and a plot of bits against distortion."
            ),
            search_aliases=["SQNR", "quantization error", "rate distortion", "compare weights"],
            is_output_node=True,
            inputs=[
                io.Model.Input(
                    "model", optional=True, tooltip="Without one, `file` is reported on."
                ),
                io.Model.Input(
                    "reference", optional=True, tooltip="The MODEL that `model` was made of."
                ),
                io.Combo.Input(
                    "file",
                    options=[NO_FILE, *model_files()],
                    tooltip="A file of checkpoints or diffusion_models, GGUF files too.",
                ),
                io.Combo.Input(
                    "reference_file",
                    options=[NO_FILE, *model_files()],
                    tooltip="The file that `file` was made of. Without one, errors stay blank.",
                ),
                io.String.Input(
                    "name",
                    default="quantization",
                    tooltip="The report is written to NAME.csv and NAME.png in output/wattbench.",
                ),
                io.AnyType.Input(
                    "after",
                    optional=True,
                    tooltip=(
                        "Connect what is made with `model`, as the picture: so the counts are "
                        "those of its making."
                    ),
                ),
            ],
            outputs=[],
        )

    @classmethod
    def validate_inputs(cls, name: str = "quantization") -> bool | str:
        return refused(lambda: file_name(name, ".csv"))

    @classmethod
    def execute(
        cls,
        file: str,
        reference_file: str,
        name: str,
        model: Any | None = None,
        reference: Any | None = None,
        after: Any | None = None,
    ) -> io.NodeOutput:
        folder = folder_in_output("wattbench")
        table, picture = (folder / file_name(name, suffix) for suffix in (".csv", ".png"))
        if model is not None:
            report = report_model(model, reference)
            lines = [*notes(report), _flop_note(model)]
        elif file == NO_FILE:
            raise ValueError("there is nothing to report on: connect a MODEL, or choose a file")
        else:
            report = report_file(
                Path(path_of(file)),
                None if reference_file == NO_FILE else Path(path_of(reference_file)),
                shown_progress(),
            )
            lines = notes(report)
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(report, table)
        shown: dict[str, Any] = {"files": [listed(table)]}
        reason = _draw(report, picture)
        if reason:
            lines.append(f"No plot: {reason}")
        else:
            shown["images"] = [listed(picture)]
        return io.NodeOutput(ui={**shown, **shown_table(HEADINGS, rows(report), lines)})


def _flop_note(model: Any) -> str:
    """Which share of the FLOPs formats touch, or why that is not known."""
    from ..law.flop.shares import share_note

    try:
        return share_note(architecture_of(model))
    except ValueError as error:
        return f"Which share of the FLOPs formats touch is not known: {error}."


def _draw(report: QuantReport, path: Path) -> str:
    """Why there is no picture; empty if it was drawn."""
    from ..quant.plots import write_rate_distortion
    from ..tables.figure import PlotsUnavailableError

    try:
        write_rate_distortion(report, path)
    except (PlotsUnavailableError, ValueError) as error:
        return str(error)
    return ""


NODES: list[type[io.ComfyNode]] = [WattBenchQuantReport]
