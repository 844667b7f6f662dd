"""The study's protocol in one node: warm-ups, then repeats of encode, denoise and decode."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..hosts.comfyui import workspace
from ..hosts.comfyui.core import core_inputs
from ..hosts.comfyui.describe import model_facts
from ..hosts.comfyui.observation import open_instrument
from ..hosts.comfyui.pictures import arrays
from ..hosts.comfyui.pipeline import ImageJob, as_one_batch, free_memory, rest, stop_if_cancelled
from ..measure.protocol.experiment import SEED_RANGE, Attempt, Plan, repeat, warm_up
from ..measure.protocol.journal import Journal
from ..measure.recording.instrument import Instrument
from ..measure.recording.runs import failed_run, measured_run, new_run
from ..quality.difference import broken
from ..records import Condition, Environment, PictureCheck, Run, with_idle_after
from .types import CATEGORY, Forecast, Runs, meter_input

if TYPE_CHECKING:
    from ..law import Forecast as ForecastValue

SETTINGS = {
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "KSampler": ("steps", "cfg", "sampler_name", "scheduler"),
}
"""Inputs that are the core nodes' own."""


class WattBenchBenchmark(io.ComfyNode):
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
            search_aliases=["speed test", "energy test", "it/s", "joules"],
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
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The pictures of all repeats."),
                Runs.Output(display_name="runs", tooltip="Connect to Export CSV or Show Summary."),
            ],
        )

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
        **job: Any,
    ) -> io.NodeOutput:
        image_job = ImageJob(**job)
        if forecast is not None:
            of_model = replace(image_job.condition, **model_facts(image_job.model))
            check_same(forecast.condition, of_model)
        journal = workspace.open_journal()
        logging.info("WattBench appends every run to %s", journal.path)
        with open_instrument(image_job.device, meter) as (instrument, environment):
            benchmark = _Benchmark(image_job, instrument, environment, journal, forecast)
            rest(cooldown_seconds)
            plan = Plan(warmup_runs, repeats, seed, max_warmup_seconds)
            try:
                runs = benchmark.carry_out(plan, idle_seconds)
            finally:
                # After a cancellation too: then this is all that the page has of it.
                workspace.show_text(benchmark.kept)
        return io.NodeOutput(as_one_batch(benchmark.images), tuple(runs))


def check_same(forecast: Condition, benchmark: Condition) -> None:
    """Refuse a forecast of something else than is measured.

    Raises:
        ValueError: the settings differ; the message names them.
    """
    asked = vars(benchmark)
    differing = [
        f"{name} {value!r} instead of {asked[name]!r}"
        for name, value in vars(forecast).items()
        if value != asked[name]
    ]
    if differing:
        raise ValueError(
            f"the forecast is of another run than this benchmark: it has {', '.join(differing)}. "
            "Give Predict Energy the same model and settings, or disconnect it."
        )


@dataclass
class _Benchmark:
    """What the runs of one benchmark share."""

    job: ImageJob
    instrument: Instrument
    environment: Environment
    journal: Journal
    forecast: ForecastValue | None
    idle_power_before_w: float | None = None
    remark: str = ""
    images: list[Any] = field(default_factory=list)
    kept_count: int = 0
    failed_count: int = 0

    def carry_out(self, plan: Plan, idle_seconds: float) -> list[Run]:
        """Warm-ups, idle power, repeats, and idle power again."""
        warmed = warm_up(plan, self)
        self.remark = warmed.remark
        self.idle_power_before_w = self._idle_power(idle_seconds)
        runs = repeat(plan, self)
        idle_power_after_w = self._idle_power(idle_seconds)
        if idle_power_after_w is not None:
            self.journal.append_idle_after(runs, idle_power_after_w)
            runs = [with_idle_after(run, idle_power_after_w) for run in runs]
        return [*warmed.runs, *runs]

    def _idle_power(self, seconds: float) -> float | None:
        if seconds == 0:
            return None
        workspace.show_text(f"measuring idle power for {seconds:g} s")
        return self.instrument.idle_power(seconds, rest)

    def measure(self, attempt: Attempt) -> Run:
        stop_if_cancelled()
        with self.instrument.record() as (window, recording):
            image = self.job.make_image(window, attempt.seed)
        if not attempt.is_warmup:
            self.images.append(image)
        run = measured_run(self._run_of(attempt), [recording])
        flags = (*run.board.flags, *([self.remark] if self.remark else []))
        faults = "; ".join(dict.fromkeys(filter(None, map(broken, arrays(image)))))
        return replace(
            run,
            board=replace(run.board, flags=flags),
            idle_power_w=self.idle_power_before_w,
            idle_power_before_w=self.idle_power_before_w,
            predicted_energy=None if self.forecast is None else self.forecast.energy,
            picture=PictureCheck("", faults) if faults else None,
        )

    def failed(self, attempt: Attempt, error: str) -> Run:
        logging.error("WattBench: a run failed and goes into the table with its reason: %s", error)
        free_memory()
        return failed_run(self._run_of(attempt), error)

    def _run_of(self, attempt: Attempt) -> Run:
        return new_run(
            self.job.condition,
            self.environment,
            seed=attempt.seed,
            visit=workspace.visit(),
            repeat=attempt.repeat,
            is_warmup=attempt.is_warmup,
            job_id=workspace.current_prompt_id(),
        )

    def keep(self, run: Run) -> None:
        self.journal.append(run)
        self.kept_count += 1
        self.failed_count += bool(run.error)
        kind = "warm-up" if run.is_warmup else "repeat"
        workspace.show_text(f"{kind} {run.repeat + 1} done, {self.kept}")

    @property
    def kept(self) -> str:
        """What is on disk by now, for the node's body."""
        failed = f", {self.failed_count} of them failed" if self.failed_count else ""
        return f"{self.kept_count} runs in the journal{failed}"


NODES: list[type[io.ComfyNode]] = [WattBenchBenchmark]
