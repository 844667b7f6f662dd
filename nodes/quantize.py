"""Model files in another weight format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io, ui

from ..measure.environment import pack_version
from ..quant.formats import FORMATS, find
from ..quant.layers import LayerRules
from .host.model_files import SUFFIX, file_name, model_files, model_path, shown_progress
from .host.quantized import COMPUTE_DTYPES, Request
from .host.quantized_layers import quantize_calibrated
from .host.workspace import show_text
from .types import CATEGORY, Calibration

if TYPE_CHECKING:
    from ..quant.calibrate import Calibration as CalibrationValue

AS_THEY_ARE = "as they are"
KEEP_TOOLTIP = (
    "Layers that stay in high precision beside the usual ones, as 'layers.0.* layers.1.*'. With - "
    "before it a pattern releases layers that stay by default."
)


class WattBenchQuantizeCheckpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchQuantizeCheckpoint",
            display_name="Quantize Checkpoint (WattBench)",
            category=CATEGORY,
            description=(
                "Writes the diffusion model of a file in another weight format, beside its source. "
                "It goes tensor by tensor, in little memory. Text encoders and VAE of a checkpoint "
                "stay as they are, and nothing is overwritten."
            ),
            search_aliases=["convert model", "fp8", "int8", "nf4", "save quantized"],
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "file",
                    options=model_files(),
                    tooltip="A .safetensors file of checkpoints or diffusion_models, 16 or 32 bit.",
                ),
                io.Combo.Input(
                    "format",
                    options=[weight_format.name for weight_format in FORMATS],
                    default="fp8",
                    tooltip=(
                        "What the weights become. ComfyUI's own loaders read fp8_w, fp8, "
                        "fp8_static, int8, int8_w8a8 and int4_gemm. fp8_static needs a calibration."
                    ),
                ),
                io.String.Input(
                    "name",
                    default="",
                    tooltip="Name of the new file. Empty: the source's with the format's added.",
                ),
                io.String.Input("keep", default="", tooltip=KEEP_TOOLTIP),
                io.Combo.Input(
                    "dtype",
                    options=[AS_THEY_ARE, "bf16", "fp16"],
                    tooltip="Of the diffusion model's other tensors.",
                ),
                Calibration.Input(
                    "calibration", optional=True, tooltip="From Calibrate, for fp8_static."
                ),
            ],
            outputs=[io.String.Output(display_name="path", tooltip="Of the new file.")],
        )

    @classmethod
    def execute(
        cls,
        file: str,
        format: str,  # noqa: A002
        name: str,
        keep: str,
        dtype: str,
        calibration: CalibrationValue | None = None,
    ) -> io.NodeOutput:
        from ..quant import convert

        source = model_path(file)
        target = source.parent / file_name(name.strip() or f"{source.stem}_{format}", SUFFIX)
        request = convert.Request(
            find(format),
            LayerRules.parse(keep),
            "" if dtype == AS_THEY_ARE else dtype,
            {} if calibration is None else calibration.input_scales,
            f"WattBench {pack_version()}",
        )
        text = convert.convert_file(source, target, request, shown_progress()).text()
        show_text(text)
        return io.NodeOutput(str(target), ui=ui.PreviewText(text))


class WattBenchQuantizeModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchQuantizeModel",
            display_name="Quantize Model (WattBench)",
            category=CATEGORY,
            description=(
                "Makes a model whose weights are stored in another format, of one that is loaded. "
                "The given model stays as it is. Its ledger counts how each product was computed: "
                "natively, emulated, or with weights widened first."
            ),
            search_aliases=["fp8", "int8", "nf4", "weight dtype"],
            inputs=[
                io.Model.Input("model", tooltip="In 16 or 32 bit."),
                io.Combo.Input(
                    "format",
                    options=[weight_format.name for weight_format in FORMATS],
                    default="fp8",
                    tooltip="What the weights become. fp8_static needs a calibration.",
                ),
                io.Combo.Input(
                    "compute_dtype",
                    options=list(COMPUTE_DTYPES),
                    tooltip="What is not quantized is computed in it. auto: as ComfyUI would.",
                ),
                io.String.Input("keep", default="", tooltip=KEEP_TOOLTIP),
                Calibration.Input(
                    "calibration", optional=True, tooltip="From Calibrate, for fp8_static."
                ),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        format: str,  # noqa: A002
        compute_dtype: str,
        keep: str,
        calibration: CalibrationValue | None = None,
    ) -> io.NodeOutput:
        if format == "fp8_static" and calibration is None:
            raise ValueError(
                "fp8_static needs calibrated scales: connect Calibrate, or take fp8, which scales "
                "activations at run time"
            )
        request = Request(format, compute_dtype, keep)
        scales = {} if calibration is None else calibration.input_scales
        return io.NodeOutput(quantize_calibrated(model, request, scales))


NODES: list[type[io.ComfyNode]] = [WattBenchQuantizeCheckpoint, WattBenchQuantizeModel]
