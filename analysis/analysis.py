"""All that is said of a set of runs: computed once, shown in many places."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..measure.energy.phases import PooledPhases, pooled_phases, step_profiles
from ..quality.base import Metric
from ..records import Estimate, Run
from .breakdown import parts_of
from .comparison import comparisons
from .glance import Glance, glance_at
from .pareto import TradeOff, quality_trade_offs, trade_offs
from .quality import QualityPoint
from .runs_table import runs_frame
from .series import series_of
from .statements import statements
from .steps import steps_frame
from .summary import ConditionRuns, conditions, summary_of
from .verdict import Verdict, verdicts_of

if TYPE_CHECKING:
    import pandas as pd


class Analysis:
    """Statements on runs; each is computed when it is first asked for, and kept.

    ``frame`` is the table of runs. ``runs`` are those of its rows whose raw samples are at hand:
    only they have steps and charts of them.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        runs: Sequence[Run] = (),
        pooled: Sequence[PooledPhases | None] = (),
    ) -> None:
        self.frame, self.runs, self._pooled = frame, runs, pooled

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Analysis:
        """Of runs with their raw samples, whose phases are pooled here.

        They are put into the order of time, but for those of a study: its plan orders them.
        """
        if not any(run.study for run in runs):
            runs = sorted(runs, key=lambda run: run.started_at)
        pooled = pooled_phases(runs)
        return cls(runs_frame(runs, pooled), runs, pooled)

    @cached_property
    def conditions(self) -> list[ConditionRuns]:
        """The runs behind each row of the summary."""
        return conditions(self.frame)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row a condition, environment and meter; see :func:`.summary.summarise`."""
        return summary_of(self.conditions, comparisons([c.measured for c in self.conditions]))

    @cached_property
    def parts(self) -> list[dict[str, Estimate]]:
        """Where time and energy went, for each row of the summary; by :func:`.parts_of`."""
        return [parts_of(condition.measured) for condition in self.conditions]

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The best condition against each baseline; one, but for studies of several works."""
        return verdicts_of(self.conditions)

    @cached_property
    def glance(self) -> Glance | None:
        """The facts of the result card and of the comparison; ``None`` without a condition."""
        return glance_at(self.conditions, self.summary, self.verdicts)

    @cached_property
    def trade_offs(self) -> list[TradeOff]:
        """Energy against time, with the front; see :mod:`.pareto`."""
        return trade_offs(self.conditions)

    @cached_property
    def quality_trade_offs(self) -> list[tuple[Metric, list[QualityPoint]]]:
        """Energy against each metric of pictures, with the front; see :mod:`.quality`."""
        return quality_trade_offs(self.conditions)

    @cached_property
    def notes(self) -> list[str]:
        """What a reader of the summary must know, each once."""
        return statements(self.summary, self.frame)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """A row a sampling step of a condition; see :func:`.steps.steps_frame`."""
        return steps_frame(step_profiles(self.runs, self._pooled))

    @cached_property
    def series(self) -> list[dict[str, Any]]:
        """What charts show, for each row of the summary; see :func:`.series.series_of`."""
        return series_of(self.conditions, self.runs)
