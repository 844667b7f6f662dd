"""The facts that WattBench records: frozen, SI units, the unit in the name.

Times are seconds of the ``time.perf_counter`` clock or differences of it. A value that was not
measured is ``None`` and a note beside it says why; it is never 0, -1 or a guess.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

SCHEMA_VERSION = 2
"""Version of the journal and of ``runs.csv``; raised whenever a column changes its meaning.

What each raise changed is told in :mod:`.measure.protocol.codec` and in ``docs/columns.md``."""

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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """Bytes in use on a device, or by a process, while a run went on."""

    peak_bytes: int
    mean_bytes: float
    source: str
    sample_count: int


@dataclass(frozen=True, slots=True)
class BoardState:
    """The board while a run went on; ``None`` where its source does not tell.

    ``flags`` says what a reader must know before comparing the run with another: throttling,
    other processes on the board, an active display, a clock or power limit that changed.
    ``gpu_utilisation`` is the mean share of time in which a kernel ran, between 0 and 1;
    ``pcie_link`` the link as it was under load, ``gen 4 x16``.
    """

    temperature_max_c: float | None = None
    sm_clock_mean_hz: float | None = None
    flags: tuple[str, ...] = ()
    gpu_utilisation: float | None = None
    vram_total_bytes: int | None = None
    pcie_link: str = ""
    power_default_limit_w: float | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """One named part of a run; ``start_s`` counts from the start of the run.

    ``step_ends_s`` (same origin) and ``nfe``, the number of function evaluations, belong to
    ``denoise``. ``beside`` are energies of other scopes, by meters that were read beside the one
    that ``energy`` comes from.
    """

    name: str
    start_s: float
    duration_s: float
    energy: EnergyReading | None = None
    step_ends_s: tuple[float, ...] = ()
    nfe: int | None = None
    beside: tuple[EnergyReading, ...] = ()


@dataclass(frozen=True, slots=True)
class Forwards:
    """Calls of a model's forward that were alike.

    ``shape`` is that of the latent it was called with: rows (pictures times conditionings), then
    channels and size. ``token_count`` are the text tokens of a row, ``None`` where the model takes
    none; ``control_count`` the ControlNets that took part in each call.
    """

    call_count: int
    shape: tuple[int, ...]
    token_count: int | None = None
    control_count: int = 0

    @property
    def label(self) -> str:
        """One call, as ``2x4x8x8, 77 tokens``."""
        tokens = "" if self.token_count is None else f", {self.token_count} tokens"
        control = f", {self.control_count} in control" if self.control_count else ""
        return f"{'x'.join(map(str, self.shape))}{tokens}{control}"


@dataclass(frozen=True, slots=True)
class Busy:
    """The part of the time in which a device had work, by looks at it, or ``note`` why not."""

    share: float | None
    look_count: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """One sampling of a run: what its sampler was asked for and what was counted meanwhile.

    ``steps`` are those of the schedule, ``steps_made`` those that the sampler reported as done,
    ``nfe`` its evaluations, each of which may take several calls of the model's forward.
    ``scales`` are the guider's numbers by name. ``batch_size`` is pictures, ``frames`` those of
    each. ``control_time_s`` goes from an evaluation's begin to the forward that ControlNets take
    part in, ``None`` without any. ``model_bytes`` are the denoiser's weights.
    ``is_dynamic`` says whether they faulted in while it ran (ComfyUI's dynamic VRAM). ``busy`` is
    of the denoising.
    """

    architecture: str
    model: str
    sampler: str
    guider: str
    scales: tuple[tuple[str, float], ...]
    width_px: int
    height_px: int
    batch_size: int
    frames: int
    steps: int
    steps_made: int
    nfe: int
    forwards: tuple[Forwards, ...] = ()
    duration_s: float | None = None
    control_time_s: float | None = None
    model_bytes: int | None = None
    is_dynamic: bool | None = None
    busy: Busy | None = None

    @property
    def guidance(self) -> str:
        """Guider and scales, as ``cfg 7`` or ``PerpNeg cfg 7 neg_scale 1``."""
        name = self.guider.removeprefix("Guider_").removesuffix("Guider")
        scales = " ".join(f"{key} {value:g}" for key, value in self.scales)
        return " ".join(part for part in ("" if name == "CFG" else name, scales) if part)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a run was: as asked for, and in ``work`` as counted. Equal ones are repeats.

    ``steps`` are those of all samplings' schedules, sizes are the picture's, ``guidance`` names the
    guider of each sampling with its scales. ``optimizations`` names what else changes how the model
    computes, as ``channels_last``. ``prompts`` stands for the set of prompts, by a hash or a name.
    ``work`` has the forward calls of each sampling; it is empty where nothing was counted.
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
    frames: int | None = None
    guidance: str = ""
    vae: str = ""
    text_encoder: str = ""
    prompts: str = ""
    work: str = ""

    @property
    def name(self) -> str:
        """A short name for tables, made of what was asked for; not unique."""
        size = f"{self.width_px}x{self.height_px}" if self.width_px and self.height_px else ""
        batch = f"batch {self.batch_size}" if self.batch_size and self.batch_size > 1 else ""
        frames = f"{self.frames} frames" if self.frames and self.frames > 1 else ""
        sampling = "/".join(part for part in (self.sampler, self.scheduler) if part)
        steps = f"{self.steps} step{'s' if self.steps > 1 else ''}" if self.steps else ""
        cfg = self.guidance or (f"cfg {self.cfg:g}" if self.cfg is not None else "")
        parts = (self.model or self.architecture, size, batch, frames, sampling, steps, cfg)
        return ", ".join(part for part in parts if part)

    @property
    def label(self) -> str:
        """The name with all else that sets it apart: equal labels are equal conditions."""
        parts = (
            self.name,
            self.attention,
            self.weight_format,
            self.optimizations,
            self.vae and f"VAE {self.vae}",
            self.text_encoder and f"text encoder {self.text_encoder}",
            self.prompts and f"prompts {self.prompts}",
            self.weights if self.weights.startswith("file ") else "",
            self.work,
        )
        return ", ".join(part for part in parts if part)

    @property
    def condition_id(self) -> str:
        """The label for programs: ten hexadecimal digits."""
        return short_hash(asdict(self), 10)


@dataclass(frozen=True, slots=True)
class Environment:
    """The hardware and software a run happened on. Runs of different ones are never pooled.

    An empty string or ``None`` means: unavailable on this machine.
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


@dataclass(frozen=True, slots=True)
class Trace:
    """Raw samples: what every energy derives from. ``t_s`` counts from the start of the run.

    ``tick_error_s`` is how well the times of the counter's ticks are known, on average.
    """

    counter: Sequence[CounterSample] = ()
    power: Sequence[PowerSample] = ()
    tick_error_s: float = 0.005


@dataclass(frozen=True, slots=True)
class BesideTrace:
    """The raw samples of a meter that was read beside the run's own."""

    meter: str
    trace: Trace


@dataclass(frozen=True, slots=True)
class KernelCalls:
    """Calls of one operation that were asked of one kernel and run by one kernel.

    ``reason`` says why ``executed`` is not ``requested``, empty where they are the same or the
    choice was left to the program. ``duration_s`` is ``None`` where it was not timed.
    """

    operation: Operation
    requested: str
    executed: str
    call_count: int
    duration_s: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PictureCheck:
    """A run's picture, against that of a reference run of the same seed if there is one.

    ``reference`` is that run's id, empty for what can be seen in the picture alone. ``fault`` says
    what is broken (black, too far from the reference) and is empty where nothing is. Distances are
    ``None`` where they were not measured: PSNR in dB for values between 0 and 1 (``None`` also for
    equal pictures, where it is infinite), SSIM and LPIPS without unit. ``sha256`` is that of the
    pictures' 8-bit values, ``[pictures, height, width, 3]``: what a PNG holds, not its file.
    """

    reference: str
    fault: str = ""
    psnr_db: float | None = None
    ssim: float | None = None
    lpips: float | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Quality:
    """One metric of a run's pictures, their mean; see :mod:`.quality`.

    ``model`` has the files of the network behind it with their SHA-256, empty where there is none.
    Where ``value`` is ``None``, ``note`` gives the reason.
    """

    name: str
    value: float | None
    unit: str
    model: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run, or one that failed and says why in ``error``.

    ``not_counted`` says why the numbers of a run are not those of its work, so that no statistic is
    made of it; ``unmeasured`` names work on its picture that nobody measured. ``process_id`` is the
    process that made it, ``visit`` a number of that for the eye. ``job_id`` is the host's name of
    the job, ``study`` and ``cell`` are the plan's; empty where there was none. ``prompt`` is a hash
    of its prompts' texts, ``picture_file`` where its picture lies, ``quality`` of its pictures.
    ``energy`` covers text encoding, denoising and decoding of the whole batch; where it is
    ``None``, ``energy_note`` gives the reason. ``predicted_energy`` is a forecast of the same.
    ``idle_power_w`` is the mean of what was measured before and after the experiment. ``vram`` is
    the driver's view of the whole device, ``allocator_*`` what ``allocator_source`` held for this
    process. ``beside_meters`` were asked to measure other scopes than ``energy``'s, as the phases
    have it; ``beside_traces`` are their raw samples. ``pue`` is what the building draws per watt.
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
    samplings: tuple[Sampling, ...] = ()
    unmeasured: str = ""
    not_counted: str = ""
    process_id: str = ""
    job_id: str = ""
    study: str = ""
    cell: str = ""
    prompt: str = ""
    picture_file: str = ""
    quality: tuple[Quality, ...] = ()
    beside_meters: tuple[str, ...] = ()
    pue: float | None = None
    beside_traces: tuple[BesideTrace, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether statistics are made of it."""
        return not (self.is_warmup or self.error or self.not_counted)


def short_hash(value: object, digits: int = 12) -> str:
    """Hexadecimal digits of the SHA-256 of a value that JSON can write."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


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
