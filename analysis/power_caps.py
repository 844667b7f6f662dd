"""Energy and time of an image against the power cap: which cap takes the fewest joules?

The runs of a sweep come in blocks: some runs one after the other under one cap. Every cap is
compared with the baseline, the limit that was in force before, by pairs of runs at the same place
in their blocks. The baseline is measured first and again last, and the two blocks are compared too:
a board that has drifted meanwhile shows here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..records import Estimate
from ..stats import estimate, paired_ratio
from ..tables.decimals import in_figures
from .columns import condition_name
from .notes import gathered

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
"""Of each estimate, and of all ratios to the baseline together."""

METRICS = {"j_per_img": "J/img", "s_per_img": "s/img"}


@dataclass(frozen=True)
class CapResult:
    """One cap. Ratios are to the baseline's; ``None`` where fewer than two pairs tell them.

    Without a meter ``energy`` and ``power_w`` are ``None``. ``power_w`` is the mean while images
    were made: where it stays well below ``cap_w``, the cap did not bind. ``paired`` of ``pairable``
    places in the blocks have runs under both this cap and the baseline.
    """

    cap_w: float
    energy: Estimate | None
    time: Estimate | None
    power_w: float | None
    energy_ratio: Estimate | None
    time_ratio: Estimate | None
    failed: int
    paired: int = 0
    pairable: int = 0


@dataclass(frozen=True)
class Sweep:
    """The caps of one condition, highest first. Drifts are the last baseline block over the first.

    ``rivals_w`` are other caps than the best and the baseline whose energy may be the best's: the
    interval of the ratio, from pairs, holds 1.
    ``not_counted`` says which runs are left out because their numbers are not those of their work.
    ``is_denoising_only`` is true where the runs measured nothing else, as with a probe on the
    model; energy and time are then those of denoising. ``note`` is what the runs say of their
    energy, and why it is missing where it is.
    """

    condition: str
    board: str
    meter: str
    baseline_w: float
    caps: tuple[CapResult, ...]
    rivals_w: tuple[float, ...]
    energy_drift: Estimate | None
    time_drift: Estimate | None
    is_denoising_only: bool
    note: str
    not_counted: tuple[str, ...] = ()

    @property
    def baseline(self) -> CapResult:
        return next(cap for cap in self.caps if cap.cap_w == self.baseline_w)

    @property
    def best(self) -> CapResult | None:
        """The cap with the least energy per image; ``None`` where none has an energy."""
        return _best(self.caps)


def analyse(runs: pd.DataFrame, baseline_w: float) -> list[Sweep]:
    """A sweep for each condition and meter that has runs under the baseline.

    Args:
        runs: columns of ``runs.csv`` in order of time, and ``cap_w``, the cap that was set, and
            ``block``, the number of the block that the run belongs to.
        baseline_w: the cap that the others are compared with.
    """
    from .columns import CONDITION_COLUMNS
    from .summary import by_meter

    repeats = runs[~runs["is_warmup"]]
    by_block = [*CONDITION_COLUMNS, "block"]
    repeats = repeats.assign(place=repeats.groupby(by_block, dropna=False).cumcount())
    sweeps = []
    for _, group in repeats.groupby(CONDITION_COLUMNS, dropna=False, sort=False):
        bad = group[group["error"] != ""]
        good = group[(group["error"] == "") & (group["not_counted"] == "")]
        failed = bad["cap_w"].value_counts().to_dict()
        for measured in by_meter(good):
            if (measured["cap_w"] == baseline_w).any():
                found = _sweep(measured, baseline_w, failed)
                sweeps.append(replace(found, not_counted=tuple(gathered(group["not_counted"]))))
    return sweeps


def _sweep(measured: pd.DataFrame, baseline_w: float, failed: dict[float, int]) -> Sweep:
    caps = sorted(measured["cap_w"].unique(), reverse=True)
    # With k caps against one baseline, each interval is widened so that all hold together.
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(caps) - 1)
    first = measured.iloc[0]
    is_denoising_only = bool(measured["img_per_s"].isna().all())
    measured = _with_costs(measured, is_denoising_only)
    results = tuple(
        _cap_result(measured, cap, baseline_w, failed.get(cap, 0), confidence) for cap in caps
    )
    return Sweep(
        condition=condition_name(first),
        board=first["gpu_name"] or first["cpu_name"],
        meter=next((meter for meter in measured["energy_meter"] if meter), ""),
        baseline_w=baseline_w,
        caps=results,
        rivals_w=_rivals(measured, results, baseline_w, confidence),
        energy_drift=_drift(measured, "j_per_img", baseline_w),
        time_drift=_drift(measured, "s_per_img", baseline_w),
        is_denoising_only=is_denoising_only,
        note="; ".join(dict.fromkeys(note for note in measured["energy_note"] if note)),
    )


def _with_costs(measured: pd.DataFrame, is_denoising_only: bool) -> pd.DataFrame:
    """The runs with the columns of :data:`METRICS` and ``mean_power_w``."""
    if not is_denoising_only:
        return measured.assign(s_per_img=1 / measured["img_per_s"])
    batch = measured["batch_size"].astype("float64")
    energy_j, time_s = measured["denoise_energy_j"], measured["denoise_time_s"]
    return measured.assign(
        j_per_img=energy_j / batch, s_per_img=time_s / batch, mean_power_w=energy_j / time_s
    )


def _cap_result(
    measured: pd.DataFrame, cap_w: float, baseline_w: float, failed: int, confidence: float
) -> CapResult:
    under = measured[measured["cap_w"] == cap_w]
    base = measured[measured["cap_w"] == baseline_w]
    estimates, ratios = {}, {}
    for metric, unit in METRICS.items():
        values = _values(under, metric, ["process_id", "block", "place"])
        estimates[metric] = estimate(list(values), unit, CONFIDENCE) if len(values) else None
        ratios[metric] = None if cap_w == baseline_w else _ratio(base, under, metric, confidence)
    powers = under["mean_power_w"].dropna()
    places = [set(zip(arm["process_id"], arm["place"], strict=True)) for arm in (base, under)]
    return CapResult(
        cap_w=float(cap_w),
        energy=estimates["j_per_img"],
        time=estimates["s_per_img"],
        power_w=float(powers.mean()) if len(powers) else None,
        energy_ratio=ratios["j_per_img"],
        time_ratio=ratios["s_per_img"],
        failed=failed,
        paired=len(places[0] & places[1]),
        pairable=max(map(len, places)),
    )


def _best(caps: Sequence[CapResult]) -> CapResult | None:
    known = [(cap.energy.value, cap.cap_w, cap) for cap in caps if cap.energy is not None]
    return min(known, default=(0.0, 0.0, None), key=lambda entry: entry[:2])[2]


def _rivals(
    measured: pd.DataFrame, caps: Sequence[CapResult], baseline_w: float, confidence: float
) -> tuple[float, ...]:
    best = _best(caps)
    if best is None:
        return ()
    least = measured[measured["cap_w"] == best.cap_w]
    found = []
    for cap_w in [cap.cap_w for cap in caps if cap.cap_w not in (best.cap_w, baseline_w)]:
        under = measured[measured["cap_w"] == cap_w]
        ratio = _ratio(least, under, "j_per_img", confidence)
        if ratio is not None and ratio.ci_low <= 1:
            found.append(cap_w)
    return tuple(found)


def _values(runs: pd.DataFrame, metric: str, identity: list[str]) -> pd.Series:
    """The independent values: visit means where there are several visits, else one an identity."""
    known = runs[[*identity, metric]].dropna()
    if runs["process_id"].nunique() > 1:
        return known.groupby("process_id")[metric].mean()
    return known.groupby(identity)[metric].mean()


def _ratio(
    baseline: pd.DataFrame, treatment: pd.DataFrame, metric: str, confidence: float
) -> Estimate | None:
    """From pairs of runs at the same place; the mean of several blocks' runs there is one value."""
    first, second = (_values(arm, metric, ["process_id", "place"]) for arm in (baseline, treatment))
    both = first.index.intersection(second.index)
    if len(both) < 2:
        return None
    return paired_ratio(list(first[both]), list(second[both]), confidence=confidence).ratio


def _drift(measured: pd.DataFrame, metric: str, baseline_w: float) -> Estimate | None:
    base = measured[measured["cap_w"] == baseline_w]
    ends = base.groupby("process_id")["block"].agg(["min", "max"])
    ends = ends[ends["min"] < ends["max"]]
    first, last = (base[base["block"].isin(ends[end])] for end in ("min", "max"))
    return _ratio(first, last, metric, CONFIDENCE)


def verdicts(sweep: Sweep) -> Iterator[str]:
    """What follows from a sweep, in sentences."""
    best, base = sweep.best, sweep.baseline
    if best is None or best.energy is None:
        yield f"No energy per image was measured: {sweep.note or 'the runs do not say why'}."
        return
    if len(sweep.caps) == 1:
        yield "Only the baseline was measured."
    elif best is base:
        yield f"No cap took less energy per image than the baseline of {base.cap_w:g} W."
    else:
        yield (
            f"{best.cap_w:g} W took the least: {in_figures(best.energy.value, 4)} J per image. "
            f"Against the baseline of {base.cap_w:g} W: energy {percent(best.energy_ratio)}, "
            f"time {percent(best.time_ratio)}. {_significance(best.energy_ratio)}"
        )
    if sweep.rivals_w:
        yield f"As little may have been taken by {_watts(sweep.rivals_w)}: these runs cannot tell."
    for what, drift in (("energy", sweep.energy_drift), ("time", sweep.time_drift)):
        if drift is not None and not drift.ci_low <= 1 <= drift.ci_high:
            yield (
                f"The board drifted: measured again at the end, the baseline's {what} per image "
                f"had changed by {percent(drift)}. Smaller differences between caps mean nothing."
            )
    partly = [cap for cap in sweep.caps if cap.paired < cap.pairable]
    if partly:
        listed = ", ".join(f"{c.paired} of {c.pairable} at {c.cap_w:g} W" for c in partly)
        yield f"Not all runs are paired with the baseline's: {listed}."
    powers = {cap.cap_w: cap.power_w for cap in sweep.caps}
    loose = [cap_w for cap_w, watts in powers.items() if watts is not None and watts < 0.9 * cap_w]
    if loose:
        yield f"The mean power stayed more than 10 % below the cap at {_watts(loose)}."


def _watts(caps_w: Sequence[float]) -> str:
    return ", ".join(f"{cap_w:g} W" for cap_w in caps_w)


def percent(ratio: Estimate | None) -> str:
    """A ratio as a change with its interval: ``-12.1 % [-14.2, -10.0]``; a dash without one."""
    if ratio is None:
        return "—"
    value, low, high = ((end - 1) * 100 for end in (ratio.value, ratio.ci_low, ratio.ci_high))
    return f"{value:+.1f} % [{low:+.1f}, {high:+.1f}]"


def _significance(ratio: Estimate | None) -> str:
    if ratio is None:
        return "One run each gives no interval, so this may be chance: take more repeats."
    if ratio.ci_low <= 1 <= ratio.ci_high:
        return "The interval of the difference reaches zero: this may be chance."
    return "The interval of the difference does not reach zero: this is more than chance."
