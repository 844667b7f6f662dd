"""What an image will cost, before it is queued."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io, ui

from ..hosts.comfyui.core import blank, core_inputs
from ..hosts.comfyui.describe import architecture_of, latent_shape, model_facts, step_count
from ..hosts.comfyui.host import HOST
from ..hosts.comfyui.incoming import file_of, folders
from ..incoming import resolve
from ..measure.recording.environment import identify
from ..records import Condition
from .types import CATEGORY, Forecast, refused

if TYPE_CHECKING:
    from ..law import Card
    from ..law import Forecast as ForecastValue

SETTINGS = {
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "KSampler": ("steps", "cfg", "sampler_name", "scheduler"),
}
"""Inputs that are the core nodes' own."""


class WattBenchPredictEnergy(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchPredictEnergy",
            display_name="Predict Energy (WattBench)",
            category=CATEGORY,
            description=(
                "Says what an image will cost before it is made: FLOPs, joules and seconds with "
                "an interval, and on request CO2e and money. Runs no model. For a GPU that "
                "nothing is known of it gives FLOPs only, and says what to do."
            ),
            search_aliases=[
                "forecast",
                "energy",
                "power",
                "watt",
                "flops",
                "carbon",
                "estimate cost",
            ],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model that denoises."),
                *(
                    i
                    for core, names in SETTINGS.items()
                    for i in core_inputs(core)
                    if i.id in names
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="Its size and batch are taken in place of the widgets'.",
                ),
                io.String.Input(
                    "calibration",
                    default="",
                    optional=True,
                    tooltip=(
                        "This device's own law, made by `wattbench law calibrate --out`: a JSON "
                        "file in output/wattbench, or a path in ComfyUI's output or input folder. "
                        "Empty: published data, where there are any of this device."
                    ),
                ),
                io.Float.Input(
                    "grid_intensity_g_per_kwh",
                    default=0.0,
                    min=0.0,
                    max=5000.0,
                    step=1.0,
                    optional=True,
                    tooltip="Grams of CO2e per kWh of your electricity. 0: not shown.",
                ),
                io.Float.Input(
                    "price_per_kwh",
                    default=0.0,
                    min=0.0,
                    max=1e9,
                    step=0.01,
                    optional=True,
                    tooltip="Price of a kWh of your electricity. 0: not shown.",
                ),
                io.String.Input(
                    "currency",
                    default="EUR",
                    optional=True,
                    tooltip="Of the price.",
                ),
            ],
            outputs=[
                Forecast.Output(display_name="forecast", tooltip="Connect to Benchmark."),
                io.Int.Output(
                    display_name="flop_count", tooltip="FLOPs of the whole run, all its images."
                ),
                io.Float.Output(
                    display_name="j_per_img",
                    tooltip="Joules per image. Where unknown, what depends on it is not executed.",
                ),
                io.Float.Output(
                    display_name="s_per_img",
                    tooltip="Seconds per image. Where unknown, what depends on it is not executed.",
                ),
                io.String.Output(display_name="text", tooltip="What the node shows."),
            ],
        )

    @classmethod
    def validate_inputs(cls, calibration: str = "") -> bool | str:
        from ..law.calibration import MAX_CALIBRATION_BYTES

        name = calibration.strip()
        return refused(lambda: name and file_of(name, MAX_CALIBRATION_BYTES))

    @classmethod
    def execute(
        cls,
        model: Any,
        width: int,
        height: int,
        batch_size: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        latent: dict[str, Any] | None = None,
        calibration: str = "",
        grid_intensity_g_per_kwh: float = 0.0,
        price_per_kwh: float = 0.0,
        currency: str = "EUR",
    ) -> io.NodeOutput:
        from ..law import sentence
        from ..law.cost import Tariff

        tariff = Tariff(grid_intensity_g_per_kwh or None, price_per_kwh or None, currency)
        if latent is not None:
            width, height, batch_size = latent_shape(model, latent)
        condition = Condition(
            **model_facts(model),
            width_px=width,
            height_px=height,
            batch_size=batch_size,
            steps=steps,
            cfg=cfg,
            sampler=sampler_name,
            scheduler=scheduler,
        )
        made = _forecast(model, condition, calibration)
        text = sentence(made, tariff)
        HOST.show(text)
        energy, duration = made.energy_per_img, made.duration_per_img
        return io.NodeOutput(
            made,
            blank() if made.flop_count is None else made.flop_count,
            blank() if energy is None else energy.value,
            blank() if duration is None else duration.value,
            text,
            ui=ui.PreviewText(text),
        )


def _forecast(model: Any, condition: Condition, calibration: str) -> ForecastValue:
    """By what the model is: its own name, if it has one, does not tell its size.

    Raises:
        ValueError: a calibration was asked for and cannot be used.
    """
    from ..law import Forecast as ForecastValue
    from ..law import forecast_run
    from ..law.flop.families import OTHER_SIZE

    card, reason = _card(identify(model.load_device).name, calibration)
    architecture = architecture_of(model)
    if architecture.endswith(OTHER_SIZE):
        family = architecture.removesuffix(OTHER_SIZE)
        note = f"no forecast: its layers or widths are not those of {family} as it was published"
        return ForecastValue(condition, notes=(note,))
    steps = step_count(model, condition.steps or 0, condition.sampler, condition.scheduler)
    counted = replace(condition, architecture=architecture)
    return replace(forecast_run(counted, steps, card, reason), condition=condition)


def _card(device_name: str, calibration: str) -> tuple[Card | None, str]:
    """The laws of this device, or the reason why there are none.

    Raises:
        ValueError: a calibration was asked for and cannot be used.
    """
    from ..law import Card, LawDataError, card_of, load

    if not calibration.strip():
        try:
            return card_of(device_name), ""
        except LawDataError as error:
            return None, str(error)
    path = resolve(calibration.strip(), folders())
    laws = load(path)
    gpu = laws["J"].domain.gpu
    if gpu != device_name:
        raise ValueError(
            f"the calibration {path.name} is of {gpu}, but this model runs on {device_name}. Make "
            "one of runs on this device, or leave the field empty."
        )
    law = laws["J"]
    note = f"calibrated on {law.n} conditions with {law.basis} energies"
    return Card(gpu, laws, (note,)), ""


NODES: list[type[io.ComfyNode]] = [WattBenchPredictEnergy]
