"""Whether repeats were independent and the machine steady: what else their reader must know."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..measure.recording.readings import LEAST_SAMPLES
from ..stats import drift, lag1_autocorrelation, two_sided_p
from .breakdown import ENERGIES
from .columns import METRICS, condition_name
from .summary import GROUP_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

LEAST_RUNS = 8
"""Fewer repeats than this say too little of drift and autocorrelation."""

DRIFT_P_VALUE = 0.01
IDLE_CHANGE = 0.05
"""Relative change of idle power over an experiment above which a note says so."""

DISAGREEMENT = 0.05
"""Relative difference of counter and integrated power, over all runs, above which it is noted. The
counter's tick comes on top: of a short run it is much, and no disagreement."""

WHOLE_CHANGE, WHOLE_P_VALUE = 0.002, 0.01
"""Relative difference of single runs' energies and the pooled one above which it is noted, where it
is no chance."""

WATCHED = ("it_per_s", "j_per_img")


def protocol_notes(runs: pd.DataFrame) -> list[str]:
    """Notes on drift, autocorrelation, idle power and sources, a condition at a time."""
    counted = runs[~runs["is_warmup"] & (runs["error"] == "") & (runs["not_counted"] == "")]
    groups = counted.groupby([*GROUP_COLUMNS, "energy_meter"], dropna=False, sort=False)
    notes = []
    for _, group in groups:
        found = [*_dependence(group), *_idle_change(group), *_disagreement(group), *_whole(group)]
        notes += [f"{condition_name(group.iloc[0])}: {note}" for note in found]
    return list(dict.fromkeys(notes))


def _dependence(group: pd.DataFrame) -> Iterator[str]:
    """Within one process only: over several, intervals rest on visit means."""
    if group["process_id"].nunique() > 1:
        return
    for metric in WATCHED:
        values = list(group[metric].dropna())
        if len(values) < LEAST_RUNS or len(set(values)) == 1:
            continue
        line, correlation = drift(values), lag1_autocorrelation(values)
        if line.p_value < DRIFT_P_VALUE:
            yield (
                f"{METRICS[metric]} drifts by {line.relative_slope:+.2%} a run "
                f"(p = {line.p_value:.1g}); warm up for longer"
            )
        elif correlation > 1.96 / math.sqrt(len(values)):
            yield (
                f"{METRICS[metric]} of neighbouring runs is alike (lag-1 autocorrelation "
                f"{correlation:.2f}), so that its interval is too narrow; measure over visits"
            )


def _idle_change(group: pd.DataFrame) -> Iterator[str]:
    visits = group.groupby("process_id")[["idle_power_before_w", "idle_power_after_w"]].mean()
    for before_w, after_w in visits.itertuples(index=False):
        if abs(after_w - before_w) > IDLE_CHANGE * min(before_w, after_w):
            yield (
                f"idle power was {before_w:.4g} W before and {after_w:.4g} W after the runs; "
                "net energy takes the mean"
            )


def _disagreement(group: pd.DataFrame) -> Iterator[str]:
    group = group[group["power_samples"] >= LEAST_SAMPLES]
    ratio = (group["energy_integrated_j"] / group["energy_counter_j"]).dropna()
    ticks = (group["energy_resolution_j"] / group["energy_counter_j"]).fillna(0.0)
    if len(ratio) and abs(np.mean(ratio) - 1) > DISAGREEMENT + np.mean(ticks[ratio.index]):
        yield (
            f"over all runs integrated power is {np.mean(ratio) - 1:+.1%} off the counter; "
            "one of the two is wrong"
        )


def _whole(group: pd.DataFrame) -> Iterator[str]:
    """A run's own dozen of ticks may tell its energy worse than those of all runs together."""
    energies_j = group["energy_j"]
    off_j = (group[[*ENERGIES]].sum(axis=1, skipna=False) - energies_j).dropna().to_numpy()
    if len(off_j) < 2 or abs(np.mean(off_j)) < WHOLE_CHANGE * np.mean(energies_j):
        return
    error_j = np.std(off_j, ddof=1) / np.sqrt(len(off_j))
    if error_j == 0 or two_sided_p(np.mean(off_j) / error_j, len(off_j) - 1) < WHOLE_P_VALUE:
        yield (
            "J/img is of single runs, which are short for this counter; by the ticks of all runs "
            f"together it is {np.mean(off_j) / np.mean(energies_j):+.1%}"
        )
