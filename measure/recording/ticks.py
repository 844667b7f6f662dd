"""Watching an energy counter for its ticks with as few reads as can be.

At first the counter is read often, until two ticks have been seen. If ticks come evenly, one read
right after each is enough from then on: it takes the new value, and shows that the tick was not
late. As long as the rhythm is not known well, a read in the middle of the time in which the next
tick can lie halves that time. Now and then a read right before a tick shows that it is not early.

A thread that wakes ten times a second finds the processor's caches cold, and most of what it costs
is that. So between two checks it only reads, and what the reads say is worked out for all of them
at the next check, or when reading ends.

Every read goes through :meth:`Ticks.digest`: the first one to ``_begin``, later ones to ``_search``
as long as there is no rhythm, and to ``_follow`` once there is one. ``_search`` offers each tick to
``_try``, which makes a rhythm of those in line; ``_follow`` compares each read with the tick that
is expected, keeps it (``_keep_expected``) and plans the next read (``_plan``), or gives the rhythm
up and searches again. A :class:`.tick_clock.TickClock` knows when a tick can come; here is decided
when to read.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import NamedTuple

from ...records import CounterSample
from ..meters import Meter
from .samples import Samples, TickError
from .tick_clock import TickClock

FINE_S = 2e-4
"""A rhythm that is known within this, and within what a read takes, is not looked at closer."""

LEARN_S = 1e-5
"""By so much a read changes the estimate of how late the machine wakes who reads, a running median.
A read in the middle of a short time has to be asked for that much earlier."""

EDGE_S = 5e-4
"""A read that is to be before or after a tick keeps this far away from where the tick can lie."""

FIRST_CHECKS, CHECK_EVERY = 3, 20
"""A rhythm is checked from both sides at its first ticks, and then at every so-many-th one."""

TRUST_CHECKS = 5
"""After so many checks a rhythm that was found uneven is taken to be more even again."""

HELD_UP = 1 / 4
"""A read that ends this part of the period after it was due may have seen a tick more."""

LEAST_LENGTHS, MOST_LENGTHS = 2, 64
"""So many ticks in line make a rhythm; twice as many each time that one was wrong."""

EVEN = 1 / 8
"""A tick that is further off, as a part of the period, ends the rhythm; one that was known before
and by now is known less well than to twice this part is not tried."""

NEAR = 0.05
"""Reads within this part of the period before and after a tick show that it came when it had to."""

HELD_UP_POLLS = 4
"""A tick for which this many polls should have looked is not taken into a line."""

QUIET = 0.85
"""Where there is no rhythm, this part of the shortest recent tick goes by before the next one is
looked for."""

REFINED_TICKS = 32
"""So many of the latest ticks are timed anew when the rhythm is known better."""

BETTER = 0.7
"""Uncertainty over that of the time before, at which this is done."""


class _Read(NamedTuple):
    began_s: float
    ended_s: float
    energy_j: float

    @property
    def middle_s(self) -> float:
        return (self.began_s + self.ended_s) / 2


class Ticks:
    """Keeps the counter's ticks in ``samples``; to be read when ``due_s`` has come.

    Reading may pause. With a rhythm that has been seen to hold, one read tells the last tick then.

    Args:
        meter: has a counter.
        samples: gets the ticks, and how well they are timed.
        clock: the rhythm of the same counter as it was last known. It is not believed before it has
            been seen to hold.
    """

    def __init__(
        self,
        meter: Meter,
        samples: Samples,
        clock: TickClock | None = None,
    ) -> None:
        self.due_s = 0.0
        self.is_current = False
        """Whether the counter's last tick is known, since the last pause."""
        self.clock = clock
        """The rhythm, as soon as there is one."""
        self._meter = meter
        self._samples = samples
        # Reads made, and what of them has been worked out.
        self._reads: list[_Read] = []
        self._last_j = math.nan
        self._last: _Read | None = None
        self._tick_j = math.nan
        # What the machine takes for a read at best, and how late it wakes who reads, in the middle.
        self._read_s = math.inf
        self._lateness_s = 0.0
        # Reads to come that need no thought, as long as they end in time and show a new value.
        self._usual_count = 0
        self._usual_until_s = self._stride_s = 0.0
        # The rhythm of the ticks in line, as long as it is not believed.
        self._trial: TickClock | None = None
        self._begin_search(LEAST_LENGTHS)
        self._begin_rhythm()

    def resume(self) -> None:
        """Reading has paused, by any time; what went on meanwhile is not known."""
        self.due_s, self.is_current, self._usual_count = 0.0, False, 0
        if not self._is_confirmed:
            self._last, self._trial = None, None
            self._in_line_count = 0
            self._stood = self._paused = False

    def read(self) -> bool:
        """Read the counter; false where the meter has none.

        Reads that come when they should, and show a new value each, are left for :meth:`digest`:
        done for many at once that takes a fraction of the time.

        Raises:
            MeterReadError: it fails.
        """
        began_s = time.perf_counter()
        energy_j = self._meter.read_energy_j()
        ended_s = time.perf_counter()
        if energy_j is None:
            return False
        is_usual = ended_s < self._usual_until_s and energy_j != self._last_j
        self._last_j = energy_j
        self._reads.append(_Read(began_s, ended_s, energy_j))
        if is_usual and self._usual_count > 0:
            self._usual_count -= 1
            self._usual_until_s += self._stride_s
            self.due_s += self._stride_s
        else:
            is_later = began_s - self.due_s > self._lateness_s
            self._lateness_s += LEARN_S if is_later else -LEARN_S
            self.digest()
        return True

    def digest(self) -> None:
        """Find the ticks in the reads made so far."""
        reads, self._reads = self._reads, []
        for read in reads:
            self._usual_count = 0
            last, self._last = self._last, read
            self._read_s = min(self._read_s, read.ended_s - read.began_s)
            self.due_s = max(read.ended_s, read.began_s + self._meter.poll_period_s)
            if self._meter.is_computed:
                self._keep(read.middle_s, read.energy_j, self._meter.poll_period_s / 2)
            elif last is None:
                self._begin(read)
            elif self.clock is not None:
                self._follow(self.clock, last, read)
            else:
                self._search(last, read)

    def _begin(self, read: _Read) -> None:
        """Only after this read do changes tell something."""
        if not self._samples.counter:
            self._samples.counter.append(CounterSample(read.middle_s, read.energy_j))
        self._tick_j = read.energy_j
        clock = self.clock
        if clock is None:
            return
        came, may_have_come = clock.seen_by(read.began_s, read.ended_s)
        self._expect(clock, may_have_come + 1)
        if self._late_s - self._early_s > 2 * EVEN * clock.period_s:
            self.clock = None
        elif came < may_have_come:
            self._last = None
            self._resolve(clock, may_have_come)
        else:
            self._plan(clock)

    # Without a rhythm.

    def _begin_search(self, needed_count: int) -> None:
        self._trial = None
        # How many ticks are in line, and how many of them it takes to believe in a rhythm.
        self._in_line_count, self._needed_count = 0, needed_count
        # Between which two moments the last tick came, and how long the latest ones took.
        self._span_s = (0.0, 0.0)
        self._lengths: deque[float] = deque(maxlen=8)
        # Whether the last read showed no new value, and whether there was a pause before it.
        self._stood = self._paused = False

    def _search(self, last: _Read, read: _Read) -> None:
        """A tick, if there was one, came after the last read began and before this one ended.

        A counter that changes at every read is as new as the read. The first read after a pause
        cannot tell the two apart, so there it counts as a tick between.
        """
        if read.energy_j == last.energy_j:
            self._stood, self._paused = True, False
            return
        if not (self._stood or self._paused):
            self._begin_search(self._needed_count)
            half_s = (read.middle_s - last.middle_s) / 2
            self._keep(read.middle_s, read.energy_j, half_s)
            return
        before_s, self._span_s = self._span_s, (last.began_s, read.ended_s)
        tick_s, span_s = sum(self._span_s) / 2, read.ended_s - last.began_s
        if self._samples.tick_errors:
            self._lengths.append(tick_s - self._samples.counter[-1].t_s)
        self._keep(tick_s, read.energy_j, span_s / 2)
        if span_s > HELD_UP_POLLS * self._meter.poll_period_s + self._read_s:
            self._in_line_count, self._trial = 0, None
        self._try(before_s)
        self._stood = self._paused = False
        if self.clock is None and len(self._lengths) > LEAST_LENGTHS:
            self.due_s = max(self.due_s, tick_s + QUIET * min(self._lengths))
            self._paused = self.due_s > read.began_s + self._meter.poll_period_s

    def _try(self, before_s: tuple[float, float]) -> None:
        """Whether the ticks of late lie in line."""
        self._in_line_count += 1
        if self._in_line_count == 1:
            return
        if self._trial is None or not self._trial.narrow(self._in_line_count - 1, *self._span_s):
            self._trial, self._in_line_count = TickClock(before_s, self._span_s), 2
            self._recent.clear()
            self._note(0, len(self._samples.counter) - 2)
        self._note(self._in_line_count - 1)
        early_s, late_s = self._trial.bounds(self._in_line_count)
        is_distinct = 2 * (late_s - early_s + 2 * self._read_s) < self._trial.period_s
        if self._in_line_count >= self._needed_count and is_distinct:
            self.clock = self._trial
            self._expect(self.clock, self._in_line_count)
            self._plan(self.clock)

    # With a rhythm.

    def _begin_rhythm(self) -> None:
        # The tick that is expected, when it can come, and whether that time was halved by a read.
        self._number = 0
        self._early_s = self._late_s = 0.0
        self._has_looked = False
        # Ticks seen from both sides, the next one to be seen so, and whether there were enough.
        self._checked_count = self._check_number = 0
        self._is_confirmed = False
        # Indices and numbers of the latest ticks, and how well they were timed when last refined.
        self._refined_s = math.inf
        self._recent: deque[tuple[int, int]] = deque(maxlen=REFINED_TICKS)

    def _expect(self, clock: TickClock, number: int) -> None:
        self._number, self._has_looked = number, False
        self._early_s, self._late_s = clock.bounds(number)

    def _plan(self, clock: TickClock) -> None:
        """When to read next: before the tick, in the middle of where it can lie, or after it.

        Reads after ticks are usual up to the next check, as long as the rhythm stays known well.
        """
        if self._late_s - self._early_s > clock.period_s / 2:
            self._give_up()
            return
        check_s = self._early_s - EDGE_S - self._read_s
        fine_s = FINE_S + 1.5 * self._read_s + 4 * clock.slack_s
        width_s = self._late_s - self._early_s
        is_checked = self._checked_count < FIRST_CHECKS or self._number >= self._check_number
        if is_checked and self.due_s <= check_s:
            self.due_s = check_s
        elif width_s > fine_s and not self._has_looked:
            self.due_s = self._early_s + (width_s - self._read_s) / 2 - self._lateness_s
            self._has_looked = True
        else:
            self.due_s = self._late_s + EDGE_S
            early_s, late_s = clock.bounds(self._check_number)
            if not is_checked and late_s - early_s <= fine_s + FINE_S:
                ahead = self._check_number - self._number
                self._usual_count = ahead - 1
                self._usual_until_s = self.due_s + HELD_UP * clock.period_s
                self._stride_s = (late_s - self._late_s) / ahead

    def _follow(self, clock: TickClock, last: _Read, read: _Read) -> None:
        """The tick of the value that was read is the one that was expected, or a later one."""
        if read.energy_j == self._tick_j:
            if self._fits(clock, after_s=read.began_s):
                self.is_current = True
                self._plan(clock)
            return
        came, may_have_come = clock.seen_by(read.began_s, read.ended_s)
        if max(came, self._number) < may_have_come:
            self._resolve(clock, may_have_come)
            return
        if came > self._number:
            self._expect(clock, came)
        if self._fits(clock, before_s=read.ended_s):
            self._keep_expected(clock, last, read)
        else:
            self._search(last, read)

    def _resolve(self, clock: TickClock, number: int) -> None:
        """Whether a read was before or after this tick is open: read again when it has come."""
        early_s, late_s = clock.bounds(number)
        if late_s - early_s > clock.period_s / 2:
            self._give_up()
        else:
            self.due_s = late_s + EDGE_S

    def _fits(
        self, clock: TickClock, after_s: float = -math.inf, before_s: float = math.inf
    ) -> bool:
        """Take note that the tick came between two moments, and answer whether there is a rhythm.

        A tick that was not where it had to be makes the rhythm less even, or ends it. One that has
        not been seen to hold yet is given up at once.
        """
        if after_s <= self._early_s and before_s >= self._late_s:
            return True
        fits = clock.narrow(self._number, after_s, before_s)
        if not fits:
            off_s = max(after_s - self._late_s, self._early_s - before_s, FINE_S)
            if self._is_confirmed and clock.slack_s + off_s < EVEN * clock.period_s:
                self._checked_count = 0
                clock.loosen(self._number, off_s)
                fits = clock.narrow(self._number, after_s, before_s)
        if fits:
            self._early_s, self._late_s = clock.bounds(self._number)
            return True
        self._needed_count = min(2 * self._needed_count, MOST_LENGTHS)
        self._give_up()
        return False

    def _give_up(self) -> None:
        self.clock = None
        self._begin_search(self._needed_count)
        self._begin_rhythm()
        self._paused = True

    def _keep_expected(self, clock: TickClock, last: _Read, read: _Read) -> None:
        """The tick that was expected has come, by a read right after it or much later.

        Until the rhythm has been seen to hold, ticks are timed by the reads around them.
        """
        near_s = NEAR * clock.period_s + 2 * self._read_s
        is_seen = last.began_s > self._early_s - near_s and read.ended_s < self._late_s + near_s
        if is_seen:
            self._checked_count += 1
            self._check_number = self._number + CHECK_EVERY
            if self._checked_count % TRUST_CHECKS == 0:
                clock.tighten()
        self._is_confirmed = self._is_confirmed or self._checked_count >= FIRST_CHECKS
        span_s = (self._early_s, self._late_s)
        if not self._is_confirmed:
            span_s = (last.began_s, read.ended_s)
        tick_s, error_s = sum(span_s) / 2, (span_s[1] - span_s[0]) / 2
        self._keep(tick_s, read.energy_j, error_s)
        self._note(self._number)
        if self._is_confirmed and error_s < BETTER * self._refined_s:
            self._refined_s = error_s
            self._refine(clock)
        self._expect(clock, self._number + 1)
        self._plan(clock)

    def _note(self, number: int, index: int | None = None) -> None:
        """The tick at ``index`` of the samples, the last one if none is given, has this number."""
        index = len(self._samples.counter) - 1 if index is None else index
        self._recent.append((index, number))

    def _refine(self, clock: TickClock) -> None:
        """Time ticks of late by what is known of the rhythm now."""
        counter, errors = self._samples.counter, self._samples.tick_errors
        for index, number in self._recent:
            tick_s, error_s = clock.time(number)
            counter[index] = CounterSample(tick_s, counter[index].energy_j)
            errors[index - 1] = TickError(tick_s, error_s)

    def _keep(self, tick_s: float, energy_j: float, error_s: float) -> None:
        self._samples.tick_errors.append(TickError(tick_s, error_s))
        self._samples.counter.append(CounterSample(tick_s, energy_j))
        self._tick_j, self.is_current = energy_j, True
