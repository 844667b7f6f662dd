"""Nodes that load models and text encoders with quantized weights, or quantize a MODEL."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..hosts.comfyui import quantized as host
from ..hosts.comfyui.core import core_inputs
from ..hosts.comfyui.new_files import file_name
from ..quant.formats import FORMATS
from .types import CATEGORY, calibration_input, refused

if TYPE_CHECKING:
    from ..quant.calibrate import Calibration

QUANTIZED = tuple(f.name for f in FORMATS if f.can_quantize)


def format_input(names: tuple[str, ...], tooltip: str) -> io.Input:
    return io.Combo.Input("weight_format", options=list(names), tooltip=tooltip)


def _compute_dtype_input() -> io.Input:
    return io.Combo.Input(
        "compute_dtype",
        options=list(host.COMPUTE_DTYPES),
        tooltip="Dtype of activations and of layers that stay. auto: what ComfyUI chooses here.",
    )


def _scales(calibration: Calibration | None) -> dict[str, float]:
    return {} if calibration is None else calibration.input_scales


def layers_input() -> io.Input:
    return io.String.Input(
        "layers",
        default="",
        multiline=True,
        tooltip=(
            "Names of layers to keep in high precision, as layers.0.* or *.attention.out, "
            "separated by blanks. A minus before a name quantizes what is kept by default. Empty: "
            "sensible defaults for each architecture."
        ),
    )


class WattBenchLoadQuantized(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchLoadQuantized",
            display_name="Load Quantized Model (WattBench)",
            category=CATEGORY,
            description=(
                "Loads a diffusion model or the diffusion model of a checkpoint and quantizes its "
                "weights while it reads them, layer by layer. Files that are quantized already, "
                "GGUF files too, load as they are. How each product was really computed is "
                "counted and goes into the tables."
            ),
            search_aliases=["fp8", "nf4", "int8", "gguf", "quantize", "load diffusion model"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=host.model_files(),
                    tooltip="A file in the folders diffusion_models or checkpoints.",
                ),
                format_input(
                    (host.AS_STORED, *QUANTIZED),
                    "How to store the weights. `as stored` takes a file's own formats. fp8 and "
                    "int8_w8a8 also compute in 8 bit where the card can; fp8_w, int8, nf4 and "
                    "int4 save memory and no time.",
                ),
                _compute_dtype_input(),
                layers_input(),
                io.String.Input(
                    "save_as",
                    default="",
                    tooltip=(
                        "Keep the result as a file of this name in the folder diffusion_models. "
                        "Empty: keep nothing. An existing file is never overwritten."
                    ),
                ),
                calibration_input(),
            ],
            outputs=[io.Model.Output(tooltip="The diffusion model.")],
        )

    @classmethod
    def validate_inputs(cls, save_as: str = "") -> bool | str:
        return refused(lambda: save_as.strip() and file_name(save_as, ".safetensors"))

    @classmethod
    def execute(
        cls,
        file: str,
        weight_format: str,
        compute_dtype: str,
        layers: str,
        save_as: str,
        calibration: Calibration | None = None,
    ) -> io.NodeOutput:
        request = host.Request(weight_format, compute_dtype, layers, _scales(calibration))
        target = host.new_model_path(save_as) if save_as.strip() else None
        source = host.path_of(file)
        model = host.load_model(source, request)
        if target is not None:
            host.save_model(model, target, weight_format, Path(source))
            logging.info("WattBench saved %s", target)
        return io.NodeOutput(model)


class WattBenchQuantizeModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchQuantizeModel",
            display_name="Quantize Model (WattBench)",
            category=CATEGORY,
            description=(
                "Makes a model with quantized weights from a model that is loaded, so that formats "
                "can be compared side by side. The model itself stays as it is, and both take "
                "memory: to use one format every day, load the file with Load Quantized Model."
            ),
            search_aliases=["fp8", "nf4", "int8", "quantize"],
            inputs=[
                io.Model.Input("model", tooltip="A model in 16 or 32 bit. Its LoRAs go along."),
                format_input(
                    QUANTIZED,
                    "How to store the weights. fp8 and int8_w8a8 also compute in 8 bit where the "
                    "card can; fp8_w, int8, nf4 and int4 save memory and no time.",
                ),
                _compute_dtype_input(),
                layers_input(),
                calibration_input(),
            ],
            outputs=[io.Model.Output(tooltip="A new model with quantized weights.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        weight_format: str,
        compute_dtype: str,
        layers: str,
        calibration: Calibration | None = None,
    ) -> io.NodeOutput:
        request = host.Request(weight_format, compute_dtype, layers, _scales(calibration))
        return io.NodeOutput(host.quantize_model(model, request))


class WattBenchLoadQuantizedCLIP(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        (clip_type,) = (i for i in core_inputs("CLIPLoader") if i.id == "type")
        return io.Schema(
            node_id="WattBenchLoadQuantizedCLIP",
            display_name="Load Quantized CLIP (WattBench)",
            category=CATEGORY,
            description=(
                "Loads a text encoder of one or two files and quantizes its weights while it reads "
                "them. Only formats that leave activations alone are offered: a prompt is short, "
                "and text encoders have outliers that 8 bits do not bear."
            ),
            search_aliases=["fp8", "nf4", "int8", "text encoder", "load clip"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=host.text_encoder_files(),
                    tooltip="A file in the folder text_encoders.",
                ),
                clip_type,
                format_input(
                    (host.AS_STORED, *host.TEXT_FORMATS),
                    "How to store the weights. `as stored` takes a file's own formats.",
                ),
                _compute_dtype_input(),
                layers_input(),
                io.Combo.Input(
                    "second_file",
                    options=[host.NO_FILE, *host.text_encoder_files()],
                    optional=True,
                    tooltip="For models with two text encoders, as SDXL, Flux and SD3.",
                ),
            ],
            outputs=[io.Clip.Output(tooltip="The text encoder.")],
        )

    @classmethod
    def execute(
        cls,
        file: str,
        type: str,  # noqa: A002
        weight_format: str,
        compute_dtype: str,
        layers: str,
        second_file: str = host.NO_FILE,
    ) -> io.NodeOutput:
        files = (file,) if second_file == host.NO_FILE else (file, second_file)
        request = host.Request(weight_format, compute_dtype, layers)
        return io.NodeOutput(host.load_clip(tuple(map(host.path_of, files)), type, request))


NODES: list[type[io.ComfyNode]] = [
    WattBenchLoadQuantized,
    WattBenchQuantizeModel,
    WattBenchLoadQuantizedCLIP,
]
