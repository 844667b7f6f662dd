"""The search of ``wattbench tune``: which candidates to measure next, and the verdict.

It knows nothing of servers and graphs. It hands out blocks of candidates and takes what was
measured; the rule is fixed before the first block. Four stages:

1. *screening*: every level of every lever alone, beside the baseline;
2. *combinations*: the best level of each lever that helped, added one after the other, the largest
   gain first;
3. *additions*: on top of the best so far, the levers that did not help alone: where the host is
   what everything waits for, no kernel shows what it saves;
4. *finals*: the best few beside the baseline, in blocks that repeat until every interval is narrow
   enough, or the blocks or the time are used up. Only these blocks decide, so that a candidate
   which was lucky in an earlier stage gains nothing by it.

A stage ends by what it costs and how precise it is, never by what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import fmean

from ..records import Estimate
from ..stats import paired_ratio
from .schedule import blocks

Settings = tuple[tuple[str, str], ...]
"""Levers and their levels, in the order of the levers; others are as they were."""

BASELINE: Settings = ()


class Stage(Enum):
    """Where a search is."""

    SCREENING = "screening"
    COMBINATIONS = "combinations"
    ADDITIONS = "additions"
    FINALS = "finals"


EARLY_BLOCKS = 2
"""Blocks of each stage before the finals: an order and its mirror image. The second is left out
where the time would not do for the finals."""

BEFORE_FINALS = (Stage.SCREENING, Stage.COMBINATIONS, Stage.ADDITIONS)


@dataclass(frozen=True)
class Lever:
    """Something that can be set, and the levels to try besides leaving it as it is."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """When a candidate stays, when a stage ends, and what counts as better.

    A lever whose first ratio to the baseline lies above ``hopeless`` is not measured again; one
    below ``helped`` after two blocks goes into combinations. Finals repeat until the half-width of
    each ratio is at most ``half_width``, from ``blocks_min`` to ``blocks_max`` blocks.
    ``confidence`` is that of every interval. The verdict asks more: all finalists share its risk,
    so that one of several that change nothing is not praised more often than a single one.
    """

    hopeless: float = 1.05
    helped: float = 0.995
    finalists: int = 3
    half_width: float = 0.02
    blocks_min: int = 5
    blocks_max: int = 12
    confidence: float = 0.95

    def describe(self) -> str:
        """The rule in words, for ``--dry-run`` and the report."""
        return (
            f"Each lever alone first. Those below {self.helped:g} x the baseline are combined, the "
            "largest gain first, and the others tried on top of the best. All in a random order "
            "and its mirror image, which is left out where the time would not do for the finals. "
            f"The best {self.finalists}, or fewer where time is short, meet the baseline in blocks "
            f"of random order and its mirror image, {self.blocks_min} to {self.blocks_max}, until "
            f"every ratio is known within {self.half_width:.0%}. A candidate that falls back, "
            "breaks the picture or fails is out, and one whose interval lies behind the best is "
            f"measured no more. The best one wins if its interval, at {self.confidence:.0%} for "
            "all finalists together, lies below 1; of those that cannot be told from it, the one "
            "that changes least."
        )


@dataclass(frozen=True)
class Outcome:
    """What a block found for one candidate: ``value`` is the objective, smaller is better.

    ``fault`` says why the candidate is out: it failed, fell back, or its picture is broken or too
    far from the baseline's. ``value`` is ``None`` then, or where nothing could be measured.
    """

    value: float | None
    fault: str = ""


@dataclass(frozen=True)
class Block:
    """Candidates to be measured one after the other, in this order."""

    stage: Stage
    number: int
    order: tuple[Settings, ...]


@dataclass(frozen=True)
class Verdict:
    """How a search ended. ``winner`` is :data:`BASELINE` where nothing is proven to be better.

    ``ratio`` is that of the best candidate to the baseline, with its interval at
    ``Rule.confidence``; ``None`` without finals. ``reason`` says why the baseline stays.
    """

    winner: Settings
    ratio: Estimate | None
    reason: str = ""


@dataclass
class Search:
    """Ask for :meth:`next_block`, measure it, tell :meth:`record`, until there is none."""

    levers: Sequence[Lever]
    rule: Rule
    seed: int
    faults: dict[Settings, str] = field(default_factory=dict)
    was_stopped: bool = False
    _results: dict[Stage, list[dict[Settings, float]]] = field(default_factory=dict)
    _stage: Stage | None = Stage.SCREENING
    _chain: list[Settings] = field(default_factory=list)
    _added: list[Settings] = field(default_factory=list)
    _finalists: list[Settings] = field(default_factory=list)

    def candidates(self) -> tuple[Settings, ...]:
        """Every lever's every level alone."""
        return tuple(((lever.name, level),) for lever in self.levers for level in lever.levels)

    def next_block(self) -> Block | None:
        """What to measure next; ``None`` where the search is over."""
        while self._stage is not None:
            order = self._order()
            if order:
                return Block(self._stage, len(self._results.get(self._stage, ())), order)
            self._advance()
        return None

    def record(self, block: Block, outcomes: Mapping[Settings, Outcome]) -> None:
        """Take what ``block`` found. A baseline that failed makes its block worthless.

        Raises:
            ValueError: the outcomes are not those of the block's candidates.
        """
        if set(outcomes) != set(block.order):
            raise ValueError("the outcomes are not those of the block's candidates")
        for settings, outcome in outcomes.items():
            if outcome.fault and settings != BASELINE:
                self.faults[settings] = outcome.fault
        values = {s: o.value for s, o in outcomes.items() if o.value is not None and not o.fault}
        self._results.setdefault(block.stage, []).append(values)

    def leave(self) -> None:
        """End the stage with the blocks that it has: the time is needed for the finals."""
        self._advance()

    def spare(self) -> bool:
        """Leave a candidate of this stage out for want of time; whether there was one to spare.

        Of combinations it is the one of the fewest levers, of finalists the last one.
        """
        entered = self._chain if self._stage is Stage.COMBINATIONS else self._finalists
        if len(entered) < 2:
            return False
        del entered[0 if self._stage is Stage.COMBINATIONS else -1]
        return True

    def stop(self) -> None:
        """No more blocks, because the time is used up or somebody cancelled."""
        self._stage, self.was_stopped = None, True

    def ratios(self, stage: Stage, confidence: float | None = None) -> dict[Settings, Estimate]:
        """Ratio to the baseline of every candidate of a stage that is not out, over its blocks.

        One block gives a ratio without an interval: its bounds are NaN.
        """
        level = self.rule.confidence if confidence is None else confidence
        results = self._results.get(stage, [])
        found = {}
        for settings in dict.fromkeys(s for values in results for s in values):
            pairs = [
                (values[BASELINE], values[settings])
                for values in results
                if BASELINE in values and settings in values
            ]
            if settings != BASELINE and pairs and settings not in self.faults:
                found[settings] = _ratio(pairs, level)
        return found

    def block_count(self, stage: Stage) -> int:
        """How many blocks of a stage were measured, whatever came of them."""
        return len(self._results.get(stage, ()))

    def verdict(self) -> Verdict:
        """The best finalist if it is proven to be better, else why the baseline stays."""
        ratios = self.ratios(Stage.FINALS)
        if not ratios:
            return Verdict(BASELINE, None, self._why_no_finals())
        best = min(ratios, key=lambda settings: ratios[settings].value)
        shared = 1 - (1 - self.rule.confidence) / len(self._finalists)
        if math.isnan(ratios[best].ci_high):
            return Verdict(BASELINE, ratios[best], "one block proves nothing: give it more time")
        proven = {s for s, r in self.ratios(Stage.FINALS, shared).items() if r.ci_high < 1}
        if best in proven:
            winner = self._simplest(best, proven)
            return Verdict(winner, ratios[winner])
        return Verdict(BASELINE, ratios[best], "the best candidate cannot be told from it")

    def _simplest(self, best: Settings, proven: Collection[Settings]) -> Settings:
        """Of those that cannot be told from the best, the one that changes least.

        They are as good within the half width that was asked for, and their paired interval says
        no more.
        """
        alike = {best: 1.0}
        for settings in proven:
            pairs = [
                (values[best], values[settings])
                for values in self._results[Stage.FINALS]
                if best in values and settings in values
            ]
            if settings != best and len(pairs) > 1:
                ratio = _ratio(pairs, self.rule.confidence)
                if ratio.ci_low <= 1 and ratio.value <= 1 + self.rule.half_width:
                    alike[settings] = ratio.value
        return min(alike, key=lambda settings: (len(settings), alike[settings]))

    def _why_no_finals(self) -> str:
        if self.was_stopped:
            return "the search ended before the finals had shown anything"
        if self._finalists:
            return "every candidate that looked better failed, fell back or broke the picture"
        return "no lever made a difference that is worth having"

    def _order(self) -> tuple[Settings, ...]:
        """The candidates of the next block of this stage; empty where the stage is over.

        Who is out is left out of the order, so that a block stays the mirror image of the other.
        """
        if self._stage is None:
            return ()
        done = len(self._results.get(self._stage, ()))
        entered = self._entered()
        ratios = self.ratios(self._stage)
        if self._stage is Stage.FINALS:
            wanted = [] if self._is_precise(done) else self._in_front()
        elif done < EARLY_BLOCKS:
            wanted = [s for s in entered if s not in ratios or ratios[s].value < self._limit()]
        else:
            wanted = []
        if self._stage is Stage.ADDITIONS and wanted == self._added[:1]:
            wanted = []
        left = {settings for settings in wanted if settings not in self.faults}
        if not left:
            return ()
        orders = blocks([BASELINE, *entered], self.seed)
        order = next(order for number, order in enumerate(orders) if number == done)
        return tuple(settings for settings in order if settings in left | {BASELINE})

    def _entered(self) -> Sequence[Settings]:
        """All that a stage began with."""
        if self._stage is Stage.SCREENING:
            return self.candidates()
        if self._stage is Stage.COMBINATIONS:
            return self._chain
        return self._added if self._stage is Stage.ADDITIONS else self._finalists

    def _limit(self) -> float:
        """From which ratio on a candidate is not measured again."""
        front = self.ratios(Stage.ADDITIONS).get(self._added[0]) if self._added else None
        return self.rule.hopeless * (front.value if front else 1.0)

    def _in_front(self) -> list[Settings]:
        """The finalists whose interval does not lie behind that of the best."""
        ratios = self.ratios(Stage.FINALS)
        known = [r.ci_high for r in ratios.values() if not math.isnan(r.ci_high)]
        best = min(known, default=math.inf)
        return [s for s in self._finalists if s not in ratios or not ratios[s].ci_low > best]

    def _is_precise(self, done: int) -> bool:
        if done < self.rule.blocks_min:
            return False
        ratios = self.ratios(Stage.FINALS)
        widths = [ratios[s].half_width for s in self._in_front() if s in ratios]
        return done >= self.rule.blocks_max or all(w <= self.rule.half_width for w in widths)

    def _advance(self) -> None:
        if self._stage is Stage.SCREENING:
            self._chain = self._combinations()
            self._stage = Stage.COMBINATIONS
        elif self._stage is Stage.COMBINATIONS:
            self._added = self._additions()
            self._stage = Stage.ADDITIONS
        elif self._stage is Stage.ADDITIONS:
            self._finalists = self._best()
            self._stage = Stage.FINALS if self._finalists else None
        else:
            self._stage = None

    def _gains(self) -> list[tuple[float, Settings]]:
        """Single levers that helped, best first: each lever's best level only."""
        best: dict[str, tuple[float, Settings]] = {}
        for settings, ratio in self.ratios(Stage.SCREENING).items():
            lever = settings[0][0]
            if ratio.value < self.rule.helped and ratio.value < best.get(lever, (math.inf,))[0]:
                best[lever] = (ratio.value, settings)
        return sorted(best.values())

    def _combinations(self) -> list[Settings]:
        """The best lever with the second, with the second and the third, and so on."""
        chain: list[Settings] = []
        joined: Settings = ()
        for _, settings in self._gains():
            joined = self._joined(joined, settings)
            if len(joined) > 1:
                chain.append(joined)
        return chain

    def _additions(self) -> list[Settings]:
        """The best so far, and it with each lever that it has not, if that was not tried.

        Of a lever's levels the best one, and those that were not hopeless alone.
        """
        best = self._best()
        if not best:
            return []
        alone = self.ratios(Stage.SCREENING)
        levers = {lever for lever, _ in best[0]}
        found: list[Settings] = []
        tried: set[str] = set()
        for settings in sorted(alone, key=lambda settings: alone[settings].value):
            lever = settings[0][0]
            if lever not in levers and (
                lever not in tried or alone[settings].value < self.rule.hopeless
            ):
                tried.add(lever)
                found.append(self._joined(best[0], settings))
        new = [settings for settings in found if settings not in self._chain]
        return [best[0], *new] if new else []

    def _joined(self, *several: Settings) -> Settings:
        order = {lever.name: place for place, lever in enumerate(self.levers)}
        pairs = {pair for settings in several for pair in settings}
        return tuple(sorted(pairs, key=lambda pair: order[pair[0]]))

    def _best(self) -> list[Settings]:
        """Who goes into the finals, best first, by the ratios of the stages before."""
        seen: dict[Settings, list[float]] = {}
        for stage in (Stage.SCREENING, Stage.COMBINATIONS):
            for settings, ratio in self.ratios(stage).items():
                seen.setdefault(settings, []).append(ratio.value)
        helped = {s: fmean(v) for s, v in seen.items() if fmean(v) < self.rule.helped}
        best = sorted(helped, key=lambda settings: helped[settings])
        return [*self._with_additions(), *best][: self.rule.finalists]

    def _with_additions(self) -> list[Settings]:
        """The best with all that helped on top of it; nothing where nothing did."""
        ratios = self.ratios(Stage.ADDITIONS)
        if not ratios or self._added[0] not in ratios:
            return []
        # What gains less than can be told is not asked of the user in the end.
        limit = (1 - self.rule.half_width) * ratios[self._added[0]].value
        helpful: dict[str, Settings] = {}
        for settings in sorted(ratios, key=lambda settings: ratios[settings].value):
            if settings in self._added[1:] and ratios[settings].value < limit:
                (new,) = set(settings) - set(self._added[0])
                helpful.setdefault(new[0], settings)
        return [self._joined(*helpful.values())] if helpful else []


def _ratio(pairs: Sequence[tuple[float, float]], confidence: float) -> Estimate:
    """Geometric mean of second over first; without an interval where there is one pair."""
    if len(pairs) > 1:
        befores, afters = zip(*pairs, strict=True)
        return paired_ratio(befores, afters, confidence=confidence).ratio
    before, after = pairs[0]
    return Estimate(after / before, math.nan, math.nan, confidence, 1, "1", math.nan)
