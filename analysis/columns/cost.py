"""Columns on what a run cost: time, energy, and what was forecast."""

from __future__ import annotations

from ...law.cost import JOULES_PER_KWH
from ...measure.energy.phases import PooledPhases
from ...records import COMPUTE_PHASES, PHASES, EnergyReading, Prediction
from ...tables.columns import Column, ColumnType
from .row import RunRow

TERA = 1e12

METRIC, PHASE_METRIC = "metric", "phase metric"
"""Roles: columns of the main summary table, and of the table of phases; in ``summary.csv`` both."""


def _energy(name: str, unit: str, meaning: str, of: str) -> Column[RunRow]:
    """A number of the run's energy reading."""

    def value(row: RunRow) -> object:
        reading: EnergyReading | None = row.run.energy
        return getattr(reading, of) if reading else None

    return Column(name, "number", unit, meaning, value)


def _observed(name: str, kind: ColumnType, unit: str, meaning: str, of: str) -> Column[RunRow]:
    """A fact of what was observed of the run's energy, be that all of it or a part."""
    return Column(
        name,
        kind,
        unit,
        meaning,
        lambda row: getattr(row.observed, of) if row.observed else None,
    )


def _forecast(name: str, kind: ColumnType, unit: str, meaning: str, of: str) -> Column[RunRow]:
    def value(row: RunRow) -> object:
        prediction: Prediction | None = row.run.predicted_energy
        return getattr(prediction, of) if prediction else None

    return Column(name, kind, unit, meaning, value)


def _time(phase: str) -> Column[RunRow]:
    return Column(f"{phase}_time_s", "number", "s", "the phases", lambda row: row.time_s(phase))


def _own_energy(phase: str) -> Column[RunRow]:
    return Column(
        f"{phase}_energy_j",
        "number",
        "J",
        "the phases, from this run alone: rough where a phase is shorter than a few ticks",
        lambda row: row.energy_j(phase),
    )


def _pooled_j(pooled: PooledPhases | None, phase: str) -> float | None:
    return pooled.energy_j.get(phase) if pooled else None


def _pooled(phase: str) -> Column[RunRow]:
    return Column(
        f"{phase}_pooled_j",
        "number",
        "J",
        "the phases as this run's part in an estimate over all repeats in the table; they sum to "
        "`energy_j` as well as a run's own ticks tell that; single values are rough and may be "
        "negative; empty where `energy_note` says that the counter ticks too seldom: see "
        "[method.md](method.md)",
        lambda row: _pooled_j(row.pooled, phase),
        PHASE_METRIC,
    )


def _it_per_s(row: RunRow) -> float | None:
    steps, denoise_s = row.rated_steps, row.time_s("denoise")
    return steps / denoise_s if steps and denoise_s else None


def _img_per_s(row: RunRow) -> float | None:
    batch, image_s = row.run.condition.batch_size, row.image_time_s
    return batch / image_s if batch and image_s else None


def _energy_net_j(row: RunRow) -> float | None:
    energy, idle_w = row.run.energy, row.run.idle_power_w
    if energy is None or idle_w is None:
        return None
    return energy.energy_j - idle_w * energy.duration_s


def _mean_power_w(row: RunRow) -> float | None:
    energy = row.run.energy
    return energy.energy_j / energy.duration_s if energy and energy.duration_s else None


def _j_per_step(row: RunRow) -> float | None:
    steps, denoise_j = row.rated_steps, _pooled_j(row.pooled, "denoise")
    return denoise_j / steps if steps and denoise_j is not None else None


def _ratio(value: float | None, by: float | None, scale: float) -> float | None:
    return value / by / scale if value is not None and by else None


def _prediction_error(row: RunRow) -> float | None:
    expected, measured = row.run.predicted_energy, row.run.energy
    return measured.energy_j / expected.value - 1 if expected and measured else None


SPEED: tuple[Column[RunRow], ...] = (
    Column(
        "wall_time_s",
        "number",
        "s",
        "from the first border to the last, loading included",
        lambda row: row.run.wall_time_s,
    ),
    *(_time(phase) for phase in PHASES),
    Column(
        "it_per_s",
        "number",
        "it/s",
        "`steps_made` / `denoise_time_s`, of all samplings: a step is one of the whole batch, with "
        "both passes of CFG and all evaluations of its sampler; a step that a cache skips counts "
        "like any other; see `rate_note`",
        _it_per_s,
        METRIC,
    ),
    Column(
        "img_per_s",
        "number",
        "img/s",
        "`batch_size` / (encode + denoise + decode); empty where `unmeasured` is not",
        _img_per_s,
        METRIC,
    ),
    Column(
        "s_per_img",
        "number",
        "s/img",
        "1 / `img_per_s`",
        lambda row: 1 / rate if (rate := _img_per_s(row)) else None,
        METRIC,
    ),
    Column(
        "rate_note",
        "text",
        "",
        "why `it_per_s` and `j_per_step` are empty: samplings of different models have no common "
        "step",
        lambda row: row.rate_note,
    ),
    Column(
        "unmeasured",
        "text",
        "",
        "nodes that worked on the collected value and that no probe saw, with their seconds; what "
        "is per image is empty then. Loading, settings and work below 1 % of the measured time "
        "are passed over",
        lambda row: row.run.unmeasured,
    ),
    Column(
        "flop_count",
        "integer",
        "FLOP",
        "of the denoiser's forwards as they were counted, a multiply-add as 2; empty for models "
        "without a formula (law/flop) and with ControlNets",
        lambda row: row.flop_count,
    ),
    Column(
        "tflop_per_s",
        "number",
        "TFLOP/s",
        "`flop_count` / `denoise_time_s`",
        lambda row: _ratio(row.flop_count, row.time_s("denoise"), TERA),
    ),
)

ENERGY: tuple[Column[RunRow], ...] = (
    _energy(
        "energy_j",
        "J",
        "of encode + denoise + decode, whole batch; gross, idle power is in it",
        "energy_j",
    ),
    Column(
        "energy_net_j",
        "number",
        "J",
        "`energy_j` - `idle_power_w` × (encode + denoise + decode); may be negative; empty where "
        "`idle_power_w` is",
        _energy_net_j,
    ),
    Column(
        "idle_power_w",
        "number",
        "W",
        "mean power with the models loaded and nothing running: the mean of the two that follow. "
        "Only Benchmark measures it, so it is empty for warm-ups, collected runs and "
        "`idle_seconds` 0",
        lambda row: row.run.idle_power_w,
    ),
    Column(
        "idle_power_before_w",
        "number",
        "W",
        "measured before the repeats",
        lambda row: row.run.idle_power_before_w,
    ),
    Column(
        "idle_power_after_w",
        "number",
        "W",
        "measured after the repeats; empty where the benchmark was interrupted",
        lambda row: row.run.idle_power_after_w,
    ),
    Column(
        "mean_power_w", "number", "W", "`energy_j` / (encode + denoise + decode)", _mean_power_w
    ),
    *(_own_energy(phase) for phase in PHASES),
    *(_pooled(phase) for phase in COMPUTE_PHASES),
    Column(
        "j_per_step",
        "number",
        "J/step",
        "`denoise_pooled_j` / `steps_made`; see `rate_note`",
        _j_per_step,
        PHASE_METRIC,
    ),
    Column(
        "j_per_tflop",
        "number",
        "J/TFLOP",
        "`denoise_energy_j` / `flop_count`",
        lambda row: _ratio(row.energy_j("denoise"), row.flop_count, 1 / TERA),
    ),
    Column(
        "power_max_w",
        "number",
        "W",
        "the highest power that the meter gave during the run; empty for a meter without power",
        lambda row: max(row.powers_w, default=None),
    ),
    Column(
        "pooled_method",
        "text",
        "",
        "`attributed` where the counters' ticks were pooled; else as `energy_method`",
        lambda row: row.pooled.method if row.pooled else None,
    ),
    Column(
        "j_per_img",
        "number",
        "J/img",
        "`energy_j` / `batch_size`: gross, without loading; of a video, for all its frames",
        lambda row: row.j_per_img,
        METRIC,
    ),
    Column(
        "img_per_kwh",
        "number",
        "img/kWh",
        "3 600 000 / `j_per_img`",
        lambda row: JOULES_PER_KWH / row.j_per_img if row.j_per_img else None,
        METRIC,
    ),
    _observed(
        "energy_resolution_j",
        "number",
        "J",
        "what the counter gained in a tick of this run (median): a difference of two of its "
        "readings is no finer. Attributed and pooled energies are: "
        "[how much](method.md#pooled-phases-and-steps)",
        "resolution_j",
    ),
    _observed("energy_meter", "text", "", "as `wattbench doctor` lists it", "meter"),
    _observed(
        "energy_scope",
        "text",
        "",
        "what the meter covers: `gpu`, `module`, `package`, `dram`",
        "scope",
    ),
    _observed(
        "energy_method",
        "text",
        "",
        "`counter`, `integrated`, `attributed`, `estimated`, `simulated`: see "
        "[method.md](method.md)",
        "method",
    ),
    _energy(
        "energy_counter_j",
        "J",
        "the same energy by the meter's counter; empty where it has none",
        "counter_j",
    ),
    Column(
        "power_samples",
        "integer",
        "",
        "readings of power within the run. Beside a counter fewer than 15 check nothing",
        lambda row: len(row.powers_w) or None,
    ),
    _energy(
        "energy_integrated_j",
        "J",
        "the same energy by the meter's power; empty where it gives none",
        "integrated_j",
    ),
    Column(
        "energy_note",
        "text",
        "",
        "why energy is blank, or what to know of it",
        lambda row: "; ".join(filter(None, (row.run.energy_note, row.pooled_note))),
    ),
)

FORECAST: tuple[Column[RunRow], ...] = (
    _forecast(
        "predicted_energy_j",
        "number",
        "J",
        "what Predict Energy expected `energy_j` to be, before the run",
        "value",
    ),
    _forecast("predicted_energy_low_j", "number", "J", "its interval", "low"),
    _forecast("predicted_energy_high_j", "number", "J", "its interval", "high"),
    _forecast(
        "prediction_confidence",
        "number",
        "",
        "of that interval (0.9: 90 %)",
        "confidence",
    ),
    _forecast("prediction_source", "text", "", "the law behind it", "source"),
    Column(
        "prediction_error",
        "number",
        "",
        "`energy_j` / `predicted_energy_j` - 1; -0.03: 3 % less than expected",
        _prediction_error,
    ),
)
