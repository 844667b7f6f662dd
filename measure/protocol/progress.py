"""How far an experiment is: one count over all of its runs, the joules so far, the time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ...records import Run
from ...tables.decimals import in_figures
from .experiment import Plan


@dataclass
class Progress:
    """Of one experiment; its runs are those of ``plan`` and the warm-ups beyond it.

    ``clock`` gives seconds.
    """

    plan: Plan
    clock: Callable[[], float] = time.perf_counter
    _runs: list[Run] = field(default_factory=list, init=False)
    _took_s: list[float] = field(default_factory=list, init=False)
    _part: tuple[int, int] = field(default=(0, 0), init=False)
    _mark_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._mark_s = self.clock()

    def begin(self) -> None:
        """A run begins: time that passed before it, as rest or idling, is none of a run's."""
        self._mark_s, self._part = self.clock(), (0, 0)

    def step(self, done: int, total: int) -> None:
        """So many steps of the run are done."""
        self._part = (done, total)

    def end(self, run: Run) -> None:
        """A run has ended; failed ones count like any other."""
        self._took_s.append(self.clock() - self._mark_s)
        self._runs.append(run)
        self.begin()

    @property
    def total(self) -> int:
        """All runs, as far as it is known how many warm-ups there will be."""
        warmups = sum(run.is_warmup for run in self._runs)
        is_measuring = len(self._runs) > warmups
        planned = self.plan.warmup_count
        repeats = self.plan.repeat_count * self.plan.job_count
        return repeats + (warmups if is_measuring else max(planned, warmups))

    @property
    def share(self) -> float:
        """Of all runs what is done, between 0 and 1."""
        done, total = self._part
        part = min(1.0, done / total) if total else 0.0
        return min(1.0, (len(self._runs) + part) / self.total)

    @property
    def text(self) -> str:
        """As ``run 3/12 · step 14/30 · 41 J so far · 2:10 left``; what is not known is left out."""
        run = min(len(self._runs) + 1, self.total)
        done, total = self._part
        joules = [run.energy.energy_j for run in self._runs if run.energy is not None]
        left_s = self._left_s()
        parts = (
            f"run {run}/{self.total}",
            f"step {done}/{total}" if total else "",
            f"{in_figures(sum(joules), 3)} J so far" if joules else "",
            "" if left_s is None else f"{_minutes(left_s)} left",
        )
        return " · ".join(filter(None, parts))

    def _left_s(self) -> float | None:
        """By the mean of the runs that are done; ``None`` before the first one is."""
        if not self._took_s:
            return None
        left = self.total - len(self._runs)
        mean_s = sum(self._took_s) / len(self._took_s)
        return max(0.0, left * mean_s - min(self.clock() - self._mark_s, mean_s))


def _minutes(duration_s: float) -> str:
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
