"""Model files in another weight format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from comfy_api.latest import io, ui

from ..hosts.comfyui.host import HOST
from ..hosts.comfyui.new_files import file_name, shown_progress
from ..hosts.comfyui.quantized.detection import linear_names
from ..hosts.comfyui.quantized.files import (
    MODEL_FOLDERS,
    SAFETENSORS,
    TEXT_ENCODER_FOLDERS,
    list_files,
    path_of,
)
from ..measure.recording.environment import pack_version
from ..quant.formats import find
from ..quant.layers import LayerRules
from .quantized import QUANTIZED, format_input, layers_input
from .types import CATEGORY, calibration_input, refused

if TYPE_CHECKING:
    from ..quant.calibrate import Calibration as CalibrationValue

AS_THEY_ARE = "as they are"


class WattBenchQuantizeCheckpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchQuantizeCheckpoint",
            display_name="Quantize Checkpoint (WattBench)",
            category=CATEGORY,
            description=(
                "Writes a diffusion model or a text encoder in another weight format, beside its "
                "source. It goes tensor by tensor, in little memory. Text encoders and VAE of a "
                "checkpoint stay as they are, and nothing is overwritten."
            ),
            search_aliases=["convert model", "fp8", "int8", "nf4", "save quantized"],
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "file",
                    options=list_files((*MODEL_FOLDERS, *TEXT_ENCODER_FOLDERS), SAFETENSORS),
                    tooltip="A .safetensors file of a model or a text encoder, in 16 or 32 bit.",
                ),
                format_input(
                    QUANTIZED,
                    "What the weights become. ComfyUI's own loaders read all but nf4 and int4. "
                    "fp8_static needs a calibration.",
                ),
                io.String.Input(
                    "name",
                    default="",
                    tooltip="Name of the new file. Empty: the source's with the format's added.",
                ),
                layers_input(),
                io.Combo.Input(
                    "dtype",
                    options=[AS_THEY_ARE, "bf16", "fp16"],
                    tooltip="Of the diffusion model's other tensors.",
                ),
                calibration_input(),
            ],
            outputs=[io.String.Output(display_name="path", tooltip="Of the new file.")],
        )

    @classmethod
    def validate_inputs(cls, name: str = "") -> bool | str:
        return refused(lambda: file_name(name.strip() or "name", SAFETENSORS[0]))

    @classmethod
    def execute(
        cls,
        file: str,
        weight_format: str,
        name: str,
        layers: str,
        dtype: str,
        calibration: CalibrationValue | None = None,
    ) -> io.NodeOutput:
        from ..quant import convert

        source = Path(path_of(file))
        named = name.strip() or f"{source.stem}_{weight_format}"
        target = source.parent / file_name(named, SAFETENSORS[0])
        request = convert.Request(
            find(weight_format),
            replace(LayerRules.parse(layers), linears=linear_names(str(source))),
            "" if dtype == AS_THEY_ARE else dtype,
            {} if calibration is None else calibration.input_scales,
            pack_version(),
        )
        text = convert.convert_file(source, target, request, shown_progress()).text()
        HOST.show(text)
        return io.NodeOutput(str(target), ui=ui.PreviewText(text))


NODES: list[type[io.ComfyNode]] = [WattBenchQuantizeCheckpoint]
