"""The facts that WattBench records: frozen, SI units, the unit in the name.

Times are seconds of the ``time.perf_counter`` clock or differences of it. A value that was not
measured is ``None`` and a note beside it says why; it is never 0, -1 or a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

SCHEMA_VERSION = 1
"""Version of the journal and of ``runs.csv``; raised whenever a column changes its meaning."""

Scope = Literal["gpu", "module", "package", "dram"]
"""What the meter's number covers: a GPU board, an accelerator module, a CPU package, its memory."""

Method = Literal["counter", "integrated", "attributed", "estimated", "simulated"]
"""How an energy came about.

``counter``: difference of the device's energy counter. ``integrated``: power samples held until the
next one. ``attributed``: least-squares share of a counter that ticks more slowly than the phase.
``estimated``: a model, not a sensor. ``simulated``: replayed from a recorded trace.
"""

Operation = Literal["attention", "linear"]
"""What a kernel computes."""

PHASES = ("load", "text_encode", "denoise", "decode")
"""The phases of a run."""

COMPUTE_PHASES = PHASES[1:]
"""What an image takes. Loading is reported apart, because it depends on what ran before."""


class PowerSample(NamedTuple):
    t_s: float
    power_w: float


class CounterSample(NamedTuple):
    t_s: float
    energy_j: float


class MemorySample(NamedTuple):
    t_s: float
    used_bytes: int


@dataclass(frozen=True)
class EnergyReading:
    """Energy of one span of time.

    ``resolution_j`` is the meter's step as it bears on this reading: what a counter gains in a
    tick; no difference of its values is finer. It is ``None`` where the source gives none.
    ``counter_j`` and ``integrated_j`` are the energy by the meter's counter and by its power, where
    it has them; ``energy_j`` is one of them.
    """

    energy_j: float
    duration_s: float
    meter: str
    scope: Scope
    method: Method
    resolution_j: float | None
    sample_count: int
    counter_j: float | None = None
    integrated_j: float | None = None


@dataclass(frozen=True)
class MemoryReading:
    """Bytes in use on a device, or by a process, while a run went on."""

    peak_bytes: int
    mean_bytes: float
    source: str
    sample_count: int


@dataclass(frozen=True)
class BoardState:
    """The board while a run went on; ``None`` where its source does not tell.

    ``flags`` says what a reader must know before comparing the run with another: throttling,
    other processes on the board, an active display, a clock or power limit that changed.
    """

    temperature_max_c: float | None = None
    sm_clock_mean_hz: float | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Phase:
    """One named part of a run; ``start_s`` counts from the start of the run.

    ``step_ends_s`` (same origin) and ``nfe``, the number of function evaluations, belong to
    ``denoise``.
    """

    name: str
    start_s: float
    duration_s: float
    energy: EnergyReading | None = None
    step_ends_s: tuple[float, ...] = ()
    nfe: int | None = None


@dataclass(frozen=True)
class Condition:
    """What a run was asked to be. Runs with equal conditions are repeats of each other.

    ``optimizations`` names what else changes how the model computes, as ``channels_last``.
    """

    architecture: str
    model: str
    weights: str
    attention: str
    weight_format: str
    width_px: int | None
    height_px: int | None
    batch_size: int | None
    steps: int | None
    cfg: float | None
    sampler: str
    scheduler: str
    optimizations: str = ""

    @property
    def label(self) -> str:
        """A short name for tables, made of what was asked for."""
        size = f"{self.width_px}x{self.height_px}" if self.width_px and self.height_px else ""
        batch = f"batch {self.batch_size}" if self.batch_size and self.batch_size > 1 else ""
        sampling = "/".join(part for part in (self.sampler, self.scheduler) if part)
        steps = f"{self.steps} step{'s' if self.steps > 1 else ''}" if self.steps else ""
        cfg = f"cfg {self.cfg:g}" if self.cfg is not None else ""
        parts = (self.model or self.architecture, size, batch, sampling, steps, cfg)
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Environment:
    """The hardware and software a run happened on. Runs of different ones are never pooled.

    An empty string or ``None`` means: not to be had on this machine.
    """

    gpu_name: str
    gpu_uuid: str
    compute_capability: str
    driver: str
    runtime: str
    torch: str
    host: str
    host_version: str
    pack: str
    git_commit: str
    python: str
    os: str
    cpu_name: str
    power_limit_w: float | None


@dataclass(frozen=True)
class Trace:
    """The raw samples of a run, ``t_s`` counted from its start; what every energy derives from.

    ``tick_error_s`` is how well the times of the counter's ticks are known, on average.
    """

    counter: tuple[CounterSample, ...] = ()
    power: tuple[PowerSample, ...] = ()
    tick_error_s: float = 0.005


@dataclass(frozen=True)
class KernelCalls:
    """Calls of one operation that were asked of one kernel and run by one kernel.

    ``reason`` says why ``executed`` is not ``requested``; it is empty where they are the same, or
    where the choice was left to the program. ``duration_s`` is ``None`` where it was not timed.
    """

    operation: Operation
    requested: str
    executed: str
    call_count: int
    duration_s: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class PictureCheck:
    """A run's picture, against that of a reference run of the same seed if there is one.

    ``reference`` is that run's id, empty for what can be seen in the picture alone. ``fault`` says
    what is broken (black, too far from the reference) and is empty where nothing is. Distances are
    ``None`` where they were not measured: PSNR in dB for values between 0 and 1 (``None`` also for
    equal pictures, where it is infinite), SSIM and LPIPS without unit.
    """

    reference: str
    fault: str = ""
    psnr_db: float | None = None
    ssim: float | None = None
    lpips: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What was expected before a run was made; from ``low`` to ``high`` at ``confidence``.

    ``source`` says what the number rests on: the card and the data of the law.
    """

    value: float
    low: float
    high: float
    confidence: float
    unit: str
    source: str


@dataclass(frozen=True)
class Run:
    """One measured run, or one that failed and says why in ``error``.

    ``prompt_id`` is the host's name of the job that made it; empty where there was none.
    ``energy`` covers text encoding, denoising and decoding of the whole batch; where it is
    ``None``, ``energy_note`` gives the reason. ``predicted_energy`` covers the same, where somebody
    asked for a forecast. ``idle_power_w`` is the mean of what was measured before and after the
    run's experiment. ``vram`` is the driver's view of the whole device; ``allocator_peak_bytes``
    and ``allocator_mean_bytes`` are what ``allocator_source`` held for this process.
    """

    run_id: str
    started_at: str
    condition: Condition
    environment: Environment
    seed: int | None
    visit: int
    repeat: int
    is_warmup: bool
    phases: tuple[Phase, ...] = ()
    wall_time_s: float | None = None
    energy: EnergyReading | None = None
    idle_power_w: float | None = None
    idle_power_before_w: float | None = None
    idle_power_after_w: float | None = None
    energy_note: str = ""
    predicted_energy: Prediction | None = None
    vram: MemoryReading | None = None
    allocator_peak_bytes: int | None = None
    allocator_mean_bytes: float | None = None
    allocator_source: str = ""
    vram_note: str = ""
    rss: MemoryReading | None = None
    board: BoardState = BoardState()
    kernel_calls: tuple[KernelCalls, ...] = ()
    picture: PictureCheck | None = None
    error: str = ""
    trace: Trace = Trace()
    prompt_id: str = ""


def with_idle_after(run: Run, idle_power_after_w: float) -> Run:
    """The run with the idle power that was measured after its experiment, and the mean of both."""
    known = [w for w in (run.idle_power_before_w, idle_power_after_w) if w is not None]
    return replace(run, idle_power_after_w=idle_power_after_w, idle_power_w=sum(known) / len(known))


@dataclass(frozen=True)
class Estimate:
    """A mean with its confidence interval; ``n`` is the number of independent values behind it."""

    value: float
    ci_low: float
    ci_high: float
    confidence: float
    n: int
    unit: str
    stdev: float

    @property
    def half_width(self) -> float:
        return (self.ci_high - self.ci_low) / 2


@dataclass(frozen=True)
class Comparison:
    """``ratio`` is treatment over baseline, from pairs."""

    baseline: str
    treatment: str
    ratio: Estimate
