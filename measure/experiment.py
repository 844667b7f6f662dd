"""The protocol: warm-up runs that do not count, then repeats, each with a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .records import Run

SEED_RANGE = 2**64
RUN_FAILURES = (RuntimeError, MemoryError, ValueError, ArithmeticError, OSError)
"""What a run can raise and the experiment still go on; out of memory is a ``RuntimeError``."""


@dataclass(frozen=True)
class Plan:
    """How often to run. Warm-up runs are declared beforehand and never chosen by their value."""

    warmup_count: int
    repeat_count: int
    first_seed: int

    def attempts(self) -> Iterator[Attempt]:
        """Warm-ups first. Repeat ``i`` has seed ``first_seed + i``; warm-ups have those after."""
        for index in range(self.warmup_count):
            yield Attempt(index, self._seed(self.repeat_count + index), is_warmup=True)
        for index in range(self.repeat_count):
            yield Attempt(index, self._seed(index), is_warmup=False)

    def _seed(self, offset: int) -> int:
        return (self.first_seed + offset) % SEED_RANGE


@dataclass(frozen=True)
class Attempt:
    """One run to be made; ``repeat`` counts from 0, warm-ups and repeats apart."""

    repeat: int
    seed: int
    is_warmup: bool


def run_experiment(
    plan: Plan,
    measure: Callable[[Attempt], Run],
    failed: Callable[[Attempt, str], Run],
    keep: Callable[[Run], None],
) -> list[Run]:
    """Carry out ``plan``. Each run is given to ``keep`` as soon as it has ended.

    A run that fails becomes a run with its reason, by ``failed``, and the next one begins. A
    cancellation is no failure: it passes through, and what was kept stays kept.
    """
    runs = []
    for attempt in plan.attempts():
        try:
            run = measure(attempt)
        except RUN_FAILURES as error:
            run = failed(attempt, f"{type(error).__name__}: {error}")
        keep(run)
        runs.append(run)
    return runs
