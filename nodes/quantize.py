"""Model files in another weight format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io, ui

from ..measure.environment import pack_version
from ..quant.formats import FORMATS, find
from ..quant.layers import LayerRules
from .host.model_files import SUFFIX, file_name, model_files, model_path, shown_progress
from .host.workspace import show_text
from .types import CATEGORY, Calibration

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
                io.String.Input(
                    "keep",
                    default="",
                    tooltip=(
                        "Layers that stay in high precision beside the usual ones, as "
                        "'layers.0.* layers.1.*'. With - before it a pattern releases layers that "
                        "stay by default."
                    ),
                ),
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
        from ..quant.convert import Request, convert_file

        source = model_path(file)
        target = source.parent / file_name(name.strip() or f"{source.stem}_{format}", SUFFIX)
        request = Request(
            find(format),
            LayerRules.parse(keep),
            "" if dtype == AS_THEY_ARE else dtype,
            {} if calibration is None else calibration.input_scales,
            f"WattBench {pack_version()}",
        )
        text = convert_file(source, target, request, shown_progress()).text()
        show_text(text)
        return io.NodeOutput(str(target), ui=ui.PreviewText(text))


NODES: list[type[io.ComfyNode]] = [WattBenchQuantizeCheckpoint]
