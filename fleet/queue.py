"""Who of the cards makes a queue of images: with the least energy, under a deadline and a power.

The model. Card i makes x images of a work in a setting of which one takes t seconds and e joules,
measured. It makes one after the other, so that its time is the sum of x t, at most the time H in
which the queue is done. The rest of H it idles at its idle power, unless it is switched off when
it has nothing to do. So fast cards that wait (race to idle) and slow settings that do not are
weighed against each other, as in :mod:`..law.race_to_idle`. Under a power budget all cards that
take part may draw the power of their hungriest setting at once, and the others idle. Energies are
of the cards alone. Solved in whole images, by scipy's mixed-integer solver.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError
from ..records import Estimate
from .rows import CardRow

Idle = Literal["queue", "deadline", "off"]
"""Until when cards that have nothing to do are on: the queue's end, the deadline, or not at all."""

SOLVER_S = 20.0
GAP = 1e-5
"""Relative: an energy that is no further above the least one is the least one."""


class NoPlanError(ValueError):
    """No assignment does what was asked; the message says what is in the way."""


@dataclass(frozen=True)
class Share:
    """What one card makes of one work in one setting."""

    row: CardRow
    images: int

    @property
    def time_s(self) -> float:
        return self.images * _seconds(self.row)

    @property
    def energy_j(self) -> float:
        return self.images * _joules(self.row)


@dataclass(frozen=True)
class QueuePlan:
    """Shares, the time until the last image, and the energy of images and of idling cards.

    ``half_width_j`` is that of the images' energy at 95 %, NaN where a row has no interval.
    ``peak_w`` is what all cards draw that are on, while all that take part do. ``gap`` is how far
    the energy may be above the least one: 0 but where the solver ran out of time.
    """

    shares: tuple[Share, ...]
    time_s: float
    images_j: float
    idle_j: float
    half_width_j: float
    peak_w: float
    gap: float

    @property
    def energy_j(self) -> float:
        return self.images_j + self.idle_j


def usable(rows: Sequence[CardRow]) -> tuple[list[CardRow], list[str]]:
    """Rows that a plan can be made of, and why the others are none of them."""
    good, left_out = [], []
    for row in rows:
        name = f"{row.gpu} ({row.card}), {row.work}, {row.setting}"
        if row.is_broken:
            left_out.append(f"{name}: its pictures are broken")
        elif row.seconds is None or row.joules is None:
            left_out.append(f"{name}: no time or no energy was measured")
        else:
            good.append(row)
    return good, left_out


def plan_queue(
    rows: Sequence[CardRow],
    images: Mapping[str, int],
    deadline_s: float | None = None,
    power_w: float | None = None,
    idle: Idle = "queue",
    aim: Literal["energy", "time"] = "energy",
) -> QueuePlan:
    """The assignment of least energy, or, whatever the deadline, of least time.

    Args:
        rows: of :func:`usable`; several rows of one card are its settings.
        images: how many of each work.

    Raises:
        UsageError: idling until a deadline without one, or a card's idle power is not known.
        NoPlanError: nobody can make a work, or not in that time or with that power.
    """
    known = [row for row in rows if images.get(row.work)]
    for work in images:
        if not any(row.work == work for row in known):
            raise NoPlanError(f"no card has measured {work}")
    if idle == "deadline" and deadline_s is None:
        raise UsageError("idling until the deadline needs a deadline")
    cards = list(dict.fromkeys(row.card for row in known))
    idle_w = {card: _idle_w([row for row in known if row.card == card], idle) for card in cards}
    problem = _Problem(known, cards, images, deadline_s, power_w, idle, idle_w)
    found = problem.solve(least_time=aim == "time")
    if found is None:
        raise NoPlanError(problem.why_not())
    return found


@dataclass(frozen=True)
class _Problem:
    """Variables: images of each row, whether a row is used, the peak of each card, the time."""

    rows: Sequence[CardRow]
    cards: Sequence[str]
    images: Mapping[str, int]
    deadline_s: float | None
    power_w: float | None
    idle: Idle
    idle_w: Mapping[str, float]

    def solve(self, least_time: bool = False) -> QueuePlan | None:
        """The least energy, or the least time; ``None`` where nothing does."""
        import numpy as np
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        limits = self._limits()
        count, end = len(self.rows), 2 * len(self.rows) + len(self.cards)
        lower, upper = np.zeros(end + 1), np.full(end + 1, np.inf)
        upper[count : 2 * count] = 1.0
        if self.deadline_s is not None and not least_time:
            upper[end] = self.deadline_s
            lower[end] = self.deadline_s if self.idle == "deadline" else 0.0
        cost, whole = np.zeros(end + 1), np.zeros(end + 1)
        whole[: count if self.power_w is None else 2 * count] = 1
        if least_time:
            cost[end] = 1.0
        else:
            # While a card works it does not idle.
            cost[:count] = [_joules(r) - self.idle_w[r.card] * _seconds(r) for r in self.rows]
            cost[end] = sum(self.idle_w.values())
        entries = [(n, column, v) for n, (terms, _, _) in enumerate(limits) for column, v in terms]
        numbers, columns, values = zip(*entries, strict=True)
        matrix = csr_array((values, (numbers, columns)), shape=(len(limits), end + 1))
        low, high = (np.array([limit[part] for limit in limits]) for part in (1, 2))
        found = milp(
            cost,
            integrality=whole,
            bounds=Bounds(lower, upper),
            constraints=LinearConstraint(matrix, low, high),
            options={"time_limit": SOLVER_S, "mip_rel_gap": GAP},
        )
        if found.x is None:
            return None
        return self._plan([round(value) for value in found.x[:count]], float(found.mip_gap or 0.0))

    def _limits(self) -> list[tuple[list[tuple[int, float]], float, float]]:
        """Sums of variables, by their numbers and factors, each with its least and its most."""
        count, end = len(self.rows), 2 * len(self.rows) + len(self.cards)
        number = {card: n for n, card in enumerate(self.cards)}
        limits = []
        for work, wanted in self.images.items():
            made = [(n, 1.0) for n, row in enumerate(self.rows) if row.work == work]
            limits.append((made, float(wanted), float(wanted)))
        busy: dict[str, list[tuple[int, float]]] = {card: [] for card in self.cards}
        for n, row in enumerate(self.rows):
            busy[row.card].append((n, _seconds(row)))
        limits += [([*terms, (end, -1.0)], -math.inf, 0.0) for terms in busy.values()]
        if self.power_w is None:
            return limits
        for n, row in enumerate(self.rows):
            used = [(n, 1.0), (count + n, -float(self.images[row.work]))]
            limits.append((used, -math.inf, 0.0))
            above = max(0.0, _power_w(row) - self.idle_w[row.card])
            peak = 2 * count + number[row.card]
            limits.append(([(peak, 1.0), (count + n, -above)], 0.0, math.inf))
        peaks = [(2 * count + n, 1.0) for n in range(len(self.cards))]
        limits.append((peaks, -math.inf, self.power_w - sum(self.idle_w.values())))
        return limits

    def why_not(self) -> str:
        """What is in the way: the power, or the time."""
        fastest = self.solve(least_time=True)
        if fastest is None:
            return (
                f"a budget of {self.power_w:g} W is not enough for cards that idle and one that "
                "works; raise it, or let idle cards be off"
            )
        budget = "" if self.power_w is None else f" with {self.power_w:g} W"
        return (
            f"these cards need at least {fastest.time_s:.0f} s{budget}, and the deadline is "
            f"{self.deadline_s:.0f} s"
        )

    def _plan(self, made: Sequence[int], gap: float) -> QueuePlan:
        shares = [Share(row, n) for row, n in zip(self.rows, made, strict=True) if n]
        busy_s = dict.fromkeys(self.cards, 0.0)
        peak_w = dict(self.idle_w)
        for share in shares:
            busy_s[share.row.card] += share.time_s
            peak_w[share.row.card] = max(peak_w[share.row.card], _power_w(share.row))
        time_s = max(busy_s.values())
        on_s = self.deadline_s if self.idle == "deadline" and self.deadline_s else time_s
        idle_j = sum(self.idle_w[card] * max(0.0, on_s - busy_s[card]) for card in self.cards)
        halves = [share.images * _half_width_j(share.row) for share in shares]
        return QueuePlan(
            tuple(shares),
            time_s,
            sum(share.energy_j for share in shares),
            idle_j,
            math.hypot(*halves),
            sum(peak_w.values()),
            gap if gap > 2 * GAP else 0.0,
        )


def _idle_w(rows: Sequence[CardRow], idle: Idle) -> float:
    if idle == "off":
        return 0.0
    known = [row.idle_power_w for row in rows if row.idle_power_w is not None]
    if not known:
        raise UsageError(
            f"no idle power of {rows[0].gpu} ({rows[0].card}) was measured: let it be off when it "
            "has nothing to do (--idle off), or leave its folder out"
        )
    return sum(known) / len(known)


def _known(value: Estimate | None) -> Estimate:
    if value is None:
        raise ValueError("a row without time or energy: usable() leaves it out")
    return value


def _seconds(row: CardRow) -> float:
    return _known(row.seconds).value


def _joules(row: CardRow) -> float:
    return _known(row.joules).value


def _half_width_j(row: CardRow) -> float:
    return _known(row.joules).half_width


def _power_w(row: CardRow) -> float:
    return _joules(row) / _seconds(row)
