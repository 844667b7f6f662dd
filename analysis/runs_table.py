"""Runs as a table: one row a run, the columns of ``runs.csv``.

A cell is empty where the value was not measured; ``energy_note``, ``vram_note`` or ``error`` in the
same row says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..law.cost import JOULES_PER_KWH
from ..measure.energy.phases import PooledPhases, pooled_phases
from ..measure.energy.totals import observed_energy
from ..records import COMPUTE_PHASES, PHASES, SCHEMA_VERSION, Environment, Operation, Run

if TYPE_CHECKING:
    import pandas as pd

CONDITION_COLUMNS = [
    "condition",
    "architecture",
    "model",
    "weights",
    "attention",
    "weight_format",
    "width_px",
    "height_px",
    "batch_size",
    "steps",
    "cfg",
    "sampler",
    "scheduler",
    "optimizations",
]
ENVIRONMENT_COLUMNS = [
    "gpu_name",
    "gpu_uuid",
    "compute_capability",
    "power_limit_w",
    "driver",
    "runtime",
    "torch",
    "host",
    "host_version",
    "comfyui",
    "pack",
    "git_commit",
    "python",
    "os",
    "cpu_name",
]
POOLED_COLUMNS = [
    "text_encode_pooled_j",
    "denoise_pooled_j",
    "decode_pooled_j",
    "j_per_step",
    "pooled_method",
]
RUN_COLUMNS = [
    "schema_version",
    "run_id",
    "started_at",
    *CONDITION_COLUMNS,
    "nfe",
    "seed",
    "visit",
    "repeat",
    "is_warmup",
    "error",
    "wall_time_s",
    "load_time_s",
    "text_encode_time_s",
    "denoise_time_s",
    "decode_time_s",
    "it_per_s",
    "img_per_s",
    "energy_j",
    "energy_net_j",
    "idle_power_w",
    "idle_power_before_w",
    "idle_power_after_w",
    "mean_power_w",
    "load_energy_j",
    "text_encode_energy_j",
    "denoise_energy_j",
    "decode_energy_j",
    *POOLED_COLUMNS,
    "j_per_img",
    "img_per_kwh",
    "energy_resolution_j",
    "energy_meter",
    "energy_scope",
    "energy_method",
    "energy_counter_j",
    "energy_integrated_j",
    "energy_note",
    "predicted_energy_j",
    "predicted_energy_low_j",
    "predicted_energy_high_j",
    "prediction_confidence",
    "prediction_source",
    "prediction_error",
    "peak_vram_bytes",
    "mean_vram_bytes",
    "vram_source",
    "allocator_peak_vram_bytes",
    "allocator_mean_vram_bytes",
    "allocator_source",
    "vram_note",
    "peak_rss_bytes",
    "temperature_max_c",
    "sm_clock_mean_hz",
    "flags",
    "attention_requested",
    "attention_executed",
    "attention_fallbacks",
    "linear_requested",
    "linear_executed",
    "linear_fallbacks",
    "picture_reference",
    "picture_fault",
    "picture_psnr_db",
    "picture_ssim",
    "picture_lpips",
    *ENVIRONMENT_COLUMNS,
]
TEXT_COLUMNS = [
    "run_id",
    "started_at",
    "condition",
    "architecture",
    "model",
    "weights",
    "attention",
    "weight_format",
    "sampler",
    "scheduler",
    "optimizations",
    "error",
    "energy_meter",
    "energy_scope",
    "energy_method",
    "energy_note",
    "pooled_method",
    "prediction_source",
    "vram_source",
    "allocator_source",
    "vram_note",
    "flags",
    "attention_requested",
    "attention_executed",
    "attention_fallbacks",
    "linear_requested",
    "linear_executed",
    "linear_fallbacks",
    "picture_reference",
    "picture_fault",
    *(column for column in ENVIRONMENT_COLUMNS if column != "power_limit_w"),
]
INTEGER_COLUMNS = [
    "schema_version",
    "width_px",
    "height_px",
    "batch_size",
    "steps",
    "nfe",
    "visit",
    "repeat",
    "peak_vram_bytes",
    "allocator_peak_vram_bytes",
    "peak_rss_bytes",
]


def runs_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run, in the order given, with the columns :data:`RUN_COLUMNS`.

    The pooled columns of a run depend on the other runs: they are its part in an estimate over all.
    """
    import pandas as pd

    rows = [
        {**_row(run), **_pooled(run, phases)}
        for run, phases in zip(runs, pooled_phases(runs), strict=True)
    ]
    return typed(pd.DataFrame(rows, columns=RUN_COLUMNS))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with the column types that a CSV does not carry.

    Seeds stay Python integers: they go up to 2**64, which no floating-point column holds.
    """
    frame = frame.astype(dict.fromkeys(INTEGER_COLUMNS, "Int64"))
    frame["seed"] = frame["seed"].astype("UInt64")
    frame["is_warmup"] = frame["is_warmup"].astype(bool)
    frame[TEXT_COLUMNS] = frame[TEXT_COLUMNS].astype(object).fillna("").astype(str)
    known = {*INTEGER_COLUMNS, *TEXT_COLUMNS, "seed", "is_warmup"}
    others = [column for column in RUN_COLUMNS if column not in known]
    frame[others] = frame[others].astype("float64")
    return frame


def environment_cells(environment: Environment) -> dict[str, object]:
    """The columns :data:`ENVIRONMENT_COLUMNS`."""
    return {
        **vars(environment),
        "comfyui": environment.host_version if environment.host == "ComfyUI" else "",
    }


def _row(run: Run) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run.run_id,
        "started_at": run.started_at,
        "condition": run.condition.name,
        **vars(run.condition),
        "seed": run.seed,
        "visit": run.visit,
        "repeat": run.repeat,
        "is_warmup": run.is_warmup,
        "error": run.error,
        "wall_time_s": run.wall_time_s,
        **_speed(run),
        **_energy(run),
        **_prediction(run),
        **_board(run),
        **_kernels(run, "attention"),
        **_kernels(run, "linear"),
        **_picture(run),
        **environment_cells(run.environment),
    }


def _speed(run: Run) -> dict[str, float | None]:
    times = {name: _total_time(run, name) for name in PHASES}
    denoise_s, image_s = times["denoise"], _image_time(run)
    steps, batch = run.condition.steps, run.condition.batch_size
    return {
        **{f"{name}_time_s": seconds for name, seconds in times.items()},
        "nfe": sum(p.nfe for p in run.phases if p.nfe is not None) or None,
        "it_per_s": steps / denoise_s if steps and denoise_s else None,
        "img_per_s": batch / image_s if batch and image_s else None,
    }


def _energy(run: Run) -> dict[str, object]:
    reading = run.energy
    source, _ = observed_energy(run.phases)
    anyway: dict[str, object] = {
        **{f"{name}_energy_j": _total_energy(run, name) for name in PHASES},
        "idle_power_w": run.idle_power_w,
        "idle_power_before_w": run.idle_power_before_w,
        "idle_power_after_w": run.idle_power_after_w,
        "energy_resolution_j": source.resolution_j if source else None,
        "energy_meter": source.meter if source else "",
        "energy_scope": source.scope if source else "",
        "energy_method": source.method if source else "",
        "energy_note": run.energy_note,
    }
    if reading is None:
        return anyway
    idle_w, batch = run.idle_power_w, run.condition.batch_size
    j_per_img = reading.energy_j / batch if batch else None
    return {
        **anyway,
        "energy_j": reading.energy_j,
        "energy_net_j": None if idle_w is None else reading.energy_j - idle_w * reading.duration_s,
        "mean_power_w": reading.energy_j / reading.duration_s if reading.duration_s else None,
        "j_per_img": j_per_img,
        "img_per_kwh": JOULES_PER_KWH / j_per_img if j_per_img else None,
        "energy_counter_j": reading.counter_j,
        "energy_integrated_j": reading.integrated_j,
    }


def _pooled(run: Run, phases: PooledPhases | None) -> dict[str, object]:
    if phases is None:
        return {}
    steps, denoise_j = run.condition.steps, phases.energy_j.get("denoise")
    return {
        **{f"{name}_pooled_j": joules for name, joules in phases.energy_j.items()},
        "j_per_step": denoise_j / steps if steps and denoise_j is not None else None,
        "pooled_method": phases.method,
    }


def _prediction(run: Run) -> dict[str, object]:
    """``prediction_error`` is the measured energy over the predicted one, less 1."""
    expected, measured = run.predicted_energy, run.energy
    if expected is None:
        return {}
    return {
        "predicted_energy_j": expected.value,
        "predicted_energy_low_j": expected.low,
        "predicted_energy_high_j": expected.high,
        "prediction_confidence": expected.confidence,
        "prediction_source": expected.source,
        "prediction_error": measured.energy_j / expected.value - 1 if measured else None,
    }


def _board(run: Run) -> dict[str, object]:
    vram = run.vram
    return {
        "peak_vram_bytes": vram.peak_bytes if vram else None,
        "mean_vram_bytes": vram.mean_bytes if vram else None,
        "vram_source": vram.source if vram else "",
        "allocator_peak_vram_bytes": run.allocator_peak_bytes,
        "allocator_mean_vram_bytes": run.allocator_mean_bytes,
        "allocator_source": run.allocator_source,
        "vram_note": run.vram_note,
        "peak_rss_bytes": run.rss.peak_bytes if run.rss else None,
        "temperature_max_c": run.board.temperature_max_c,
        "sm_clock_mean_hz": run.board.sm_clock_mean_hz,
        "flags": "; ".join(run.board.flags),
    }


def _kernels(run: Run, operation: Operation) -> dict[str, object]:
    """Kernels with their calls, most calls first, as ``sage_2: 560, sdpa: 12``."""
    requested: Counter[str] = Counter()
    executed: Counter[str] = Counter()
    fallbacks: Counter[str] = Counter()
    for calls in run.kernel_calls:
        if calls.operation == operation:
            requested[calls.requested] += calls.call_count
            executed[calls.executed] += calls.call_count
            if calls.reason:
                fallbacks[f"{calls.executed}, because {calls.reason}"] += calls.call_count
    return {
        f"{operation}_{name}": "; ".join(f"{what}: {n}" for what, n in counted.most_common())
        for name, counted in (
            ("requested", requested),
            ("executed", executed),
            ("fallbacks", fallbacks),
        )
    }


def _picture(run: Run) -> dict[str, object]:
    return (
        {f"picture_{name}": value for name, value in vars(run.picture).items()}
        if run.picture
        else {}
    )


def _total_time(run: Run, name: str) -> float | None:
    durations = [phase.duration_s for phase in run.phases if phase.name == name]
    return sum(durations) if durations else None


def _image_time(run: Run) -> float | None:
    """Seconds of the compute phases; ``None`` where one of them was not measured."""
    times = [_total_time(run, name) for name in COMPUTE_PHASES]
    return None if any(time is None for time in times) else sum(time or 0.0 for time in times)


def _total_energy(run: Run, name: str) -> float | None:
    energies = [phase.energy for phase in run.phases if phase.name == name]
    if not energies or any(energy is None for energy in energies):
        return None
    return sum(energy.energy_j for energy in energies if energy is not None)
