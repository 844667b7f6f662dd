"""The study's protocol in one node: warm-ups, then repeats of encode, denoise and decode."""

from __future__ import annotations

import logging
import uuid
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..hosts.comfyui.core import core_inputs
from ..hosts.comfyui.describe import model_facts
from ..hosts.comfyui.host import HOST
from ..hosts.comfyui.incoming import checked_meter, meter_of
from ..hosts.comfyui.one_bar import one_bar
from ..hosts.comfyui.pipeline import ImageJob, as_one_batch, check_size
from ..hosts.comfyui.workspace import name_in_pictures
from ..measure.protocol.experiment import SEED_RANGE, Plan
from ..measure.protocol.observation import open_instrument
from ..measure.protocol.progress import Progress
from ..measure.protocol.session import Session, open_journal
from ..quality.prompts import PromptSet
from ..records import Condition
from .types import CATEGORY, Forecast, MeteredNode, Prompts, Runs, meter_input, refused

if TYPE_CHECKING:
    from ..law import Forecast as ForecastValue

SETTINGS = {
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "KSampler": ("steps", "cfg", "sampler_name", "scheduler"),
}
"""Inputs that are the core nodes' own."""


class WattBenchBenchmark(MeteredNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchBenchmark",
            display_name="Benchmark (WattBench)",
            category=CATEGORY,
            description=(
                "Makes the same image several times, each with a seed of its own: encodes the "
                "prompts, denoises and decodes, and measures every part. Warm-up runs are recorded "
                "but do not count. A run that fails becomes a row with its reason."
            ),
            search_aliases=[
                "speed test",
                "energy test",
                "energy",
                "power",
                "watt",
                "vram",
                "gpu",
                "it/s",
                "joules",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model that denoises."),
                io.Clip.Input("clip", tooltip="The text encoder."),
                io.Vae.Input("vae", tooltip="The VAE that decodes."),
                io.String.Input(
                    "positive", multiline=True, dynamic_prompts=True, tooltip="The prompt."
                ),
                io.String.Input(
                    "negative",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="The negative prompt; it is encoded, and counts, at any CFG.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=SEED_RANGE - 1,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Seed of the noise of the first repeat; repeat i (from 0) adds i.",
                ),
                *(
                    i
                    for core, names in SETTINGS.items()
                    for i in core_inputs(core)
                    if i.id in names
                ),
                io.Int.Input(
                    "warmup_runs",
                    default=2,
                    min=0,
                    max=1000,
                    tooltip="Runs before the repeats that do not count. See max_warmup_seconds.",
                ),
                io.Int.Input(
                    "repeats",
                    default=10,
                    min=1,
                    max=10000,
                    tooltip="Runs that count, each with a seed of its own.",
                ),
                io.Float.Input(
                    "idle_seconds",
                    default=5.0,
                    min=0.0,
                    max=600.0,
                    step=0.5,
                    tooltip=(
                        "How long to measure idle power, with the models loaded, before the "
                        "repeats and again after them, for net energy. 30 s or more for a figure "
                        "to publish; 0 leaves net energy blank."
                    ),
                ),
                meter_input(),
                io.Float.Input(
                    "max_warmup_seconds",
                    default=60.0,
                    min=0.0,
                    max=3600.0,
                    step=1.0,
                    optional=True,
                    tooltip=(
                        "More warm-ups follow until the board's temperature moves by less than "
                        "1 °C a minute and its clock stands still, for this long at most. 0, or a "
                        "meter without temperature: the declared warm-ups only."
                    ),
                ),
                io.Float.Input(
                    "cooldown_seconds",
                    default=0.0,
                    min=0.0,
                    max=3600.0,
                    step=1.0,
                    optional=True,
                    tooltip=(
                        "How long to let the board rest before the first warm-up, so that a "
                        "benchmark before this one does not heat it."
                    ),
                ),
                Forecast.Input(
                    "forecast",
                    optional=True,
                    tooltip=(
                        "From Predict Energy, with the same settings: it goes into the tables "
                        "beside what is measured."
                    ),
                ),
                Prompts.Input(
                    "prompts",
                    optional=True,
                    tooltip=(
                        "From Prompt Set: each prompt is made with each seed, so repeats × prompts "
                        "runs count. positive and negative are then the set's, and all runs stand "
                        "in one row."
                    ),
                ),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    tooltip=(
                        "From a scheduler node, for models with noise levels of their own. It "
                        "takes the place of steps and scheduler."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The pictures of all repeats."),
                Runs.Output(display_name="runs", tooltip="Connect to Export CSV or Show Summary."),
            ],
        )

    @classmethod
    def validate_inputs(cls, meter: str = "auto", width: int = 0, height: int = 0) -> bool | str:
        """ComfyUI leaves the inputs that are named here to this: also their least and largest."""

        def check() -> None:
            checked_meter(meter)
            for length_px in (width, height):
                _check_side(length_px)

        return refused(check)

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> str:
        """Never the same: who queues a benchmark again wants it measured again."""
        return uuid.uuid4().hex

    @classmethod
    def execute(
        cls,
        seed: int,
        warmup_runs: int,
        repeats: int,
        idle_seconds: float,
        meter: str = "auto",
        max_warmup_seconds: float = 60.0,
        cooldown_seconds: float = 0.0,
        forecast: ForecastValue | None = None,
        prompts: PromptSet | None = None,
        **job: Any,
    ) -> io.NodeOutput:
        jobs = jobs_of(prompts, job)
        image_job = jobs[0]
        if forecast is not None:
            of_model = replace(image_job.condition, **model_facts(image_job.model))
            check_same(forecast.condition, of_model)
        journal = open_journal(HOST)
        logging.info("WattBench appends every run to %s", journal.path)
        prediction = None if forecast is None else forecast.energy
        plan = Plan(warmup_runs, repeats, seed, max_warmup_seconds, len(jobs))
        named = meter_of(meter)
        progress = Progress(plan)
        with (
            open_instrument(HOST, image_job.device, named) as (instrument, environment),
            one_bar(progress),
        ):
            session = Session(
                HOST,
                image_job,
                instrument,
                environment,
                journal,
                prediction,
                jobs[1:],
                prompts.label if prompts is not None else "",
                progress=progress,
            )
            runs = session.carry_out(plan, idle_seconds, cooldown_seconds)
        name_in_pictures([run for run in runs if not run.is_warmup and not run.error])
        return io.NodeOutput(as_one_batch(image_job.images), tuple(runs))


def jobs_of(prompts: PromptSet | None, job: dict[str, Any]) -> list[ImageJob]:
    """A job, or one for each prompt of a set; their pictures are gathered in one list."""
    if prompts is None:
        return [ImageJob(**job)]
    jobs = [
        ImageJob(**{**job, "positive": text, "negative": prompts.negative})
        for text in prompts.texts
    ]
    for other in jobs[1:]:
        other.images = jobs[0].images
    return jobs


LARGEST_PX = 16384
"""As core's ``EmptyLatentImage`` has it."""

UNPREDICTED = ("vae", "text_encoder", "prompts")
"""Fields of a condition that a forecast does not know."""


def _check_side(length_px: int) -> None:
    """Of a picture; 0 stands for one that another node gives, which is not known yet.

    Raises:
        ValueError: it cannot be made.
    """
    check_size(length_px, length_px)
    if length_px and not 16 <= length_px <= LARGEST_PX:
        raise ValueError(f"width and height must lie between 16 and {LARGEST_PX}: {length_px}")


def check_same(forecast: Condition, benchmark: Condition) -> None:
    """Refuse a forecast of something else than is measured.

    Raises:
        ValueError: the settings differ; the message names them.
    """
    asked = asdict(benchmark)
    differing = [
        f"{name} {value!r} instead of {asked[name]!r}"
        for name, value in asdict(forecast).items()
        if value != asked[name] and name not in UNPREDICTED
    ]
    if differing:
        raise ValueError(
            f"the forecast is of another run than this benchmark: it has {', '.join(differing)}. "
            "Give Predict Energy the same model and settings, or disconnect it."
        )


NODES: list[type[io.ComfyNode]] = [WattBenchBenchmark]
