"""What goes into a model's layers while it samples, and the scales of ``fp8_static``."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..hosts.comfyui.core import core_inputs, run_core
from ..hosts.comfyui.describe import describe_model
from ..hosts.comfyui.host import HOST
from ..hosts.comfyui.linear import linear_layers
from ..hosts.comfyui.new_files import file_name
from ..hosts.comfyui.workspace import folder_in_output
from ..quant.calibrate import OUTLIER_PERCENTILE, OUTLIER_RATIO, ActivationRecorder
from ..quant.calibrate import Calibration as CalibrationValue
from ..quant.formats import FORMATS
from ..quant.layers import LayerRules, Quantized
from .output import listed
from .quantized import layers_input
from .table import shown_table
from .types import CATEGORY, Calibration, refused

FORMAT = next(f for f in FORMATS if f.needs_input_scale)
"""What a calibration is made for."""
SETTINGS = (
    "seed",
    "steps",
    "cfg",
    "sampler_name",
    "scheduler",
    "negative",
    "latent_image",
)
"""Inputs that are core KSampler's own."""

MAX_PROMPTS = 32
SHOWN_LAYERS = 12
HEADINGS = ("Layer", "Largest input", "99.9 %", "Ratio", "Scale", "Calls")


class WattBenchCalibrate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchCalibrate",
            display_name="Calibrate (WattBench)",
            category=CATEGORY,
            description=(
                "Samples with each prompt, records how large the inputs of the layers become, and "
                "derives the scales of fp8_static from them. Connect the calibration to Quantize "
                "Checkpoint; the table names the layers with outliers."
            ),
            search_aliases=["fp8_static", "activation scales", "input_scale", "outliers"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model in 16 or 32 bit."),
                io.Autogrow.Input(
                    "prompts",
                    template=io.Autogrow.TemplatePrefix(
                        io.Conditioning.Input("prompt", tooltip="One of the prompts to sample."),
                        prefix="prompt",
                        min=1,
                        max=MAX_PROMPTS,
                    ),
                ),
                *(i for i in core_inputs("KSampler") if i.id in SETTINGS),
                io.Float.Input(
                    "percentile",
                    default=100.0,
                    min=90.0,
                    max=100.0,
                    step=0.001,
                    tooltip=(
                        "Which magnitude of a layer's inputs becomes the end of the FP8 range. "
                        "100: the largest, so that nothing is clipped."
                    ),
                ),
                layers_input(),
                io.String.Input(
                    "name",
                    default="calibration",
                    tooltip="The calibration is written to NAME.json in output/wattbench.",
                ),
            ],
            outputs=[
                Calibration.Output(
                    display_name="calibration", tooltip="Connect to Quantize Checkpoint."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str = "calibration", prompts: Any = None) -> bool | str:
        """ComfyUI hands over the growing input as well."""
        return refused(lambda: file_name(name, ".json"))

    @classmethod
    def execute(
        cls,
        model: Any,
        prompts: dict[str, Any],
        percentile: float,
        layers: str,
        name: str,
        seed: int,
        **settings: Any,
    ) -> io.NodeOutput:
        path = folder_in_output("wattbench") / file_name(name, ".json")
        rules, wanted = LayerRules.parse(layers), FORMAT
        modules = {
            layer: module
            for layer, module, shape in linear_layers(model)
            if _is_static(rules.decide(layer, shape, wanted))
        }
        with ActivationRecorder(modules) as recorder:
            for number, positive in enumerate(prompts.values()):
                HOST.stop_if_cancelled()
                run_core(
                    "KSampler",
                    model=model,
                    seed=seed + number,
                    positive=positive,
                    denoise=1.0,
                    **settings,
                )
            ranges = recorder.ranges(percentile)
        identity = describe_model(model)
        made = CalibrationValue(
            identity.model or identity.architecture, percentile, len(prompts), ranges
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        made.save(path)
        return io.NodeOutput(
            made,
            ui={"files": [listed(path)], **_table(made, len(modules))},
        )


def _is_static(decision: object) -> bool:
    return isinstance(decision, Quantized) and decision.format.needs_input_scale


def _table(made: CalibrationValue, asked: int) -> dict[str, Any]:
    """The layers whose inputs stand out most, and what the calibration rests on."""
    ordered = sorted(made.layers.items(), key=lambda item: -(item[1].outlier_ratio or 0.0))
    rows = [
        [
            layer,
            f"{found.amax:.4g}",
            f"{found.typical:.4g}",
            "—" if found.outlier_ratio is None else f"{found.outlier_ratio:.1f}",
            f"{found.input_scale:.3g}",
            str(found.call_count),
        ]
        for layer, found in ordered[:SHOWN_LAYERS]
    ]
    notes = [
        f"{len(made.layers)} layers over {made.sampling_count} samplings. Shown are those whose "
        f"largest input is the largest multiple of what {OUTLIER_PERCENTILE} % do not exceed.",
        f"In {len(made.outliers)} layers that ratio is {OUTLIER_RATIO:.0f} or more: keep them in "
        "high precision if the picture suffers.",
    ]
    if asked > len(made.layers):
        notes.append(
            f"{asked - len(made.layers)} layers were never called; their activations stay as they "
            "are."
        )
    return shown_table(HEADINGS, rows, notes)


NODES: list[type[io.ComfyNode]] = [WattBenchCalibrate]
