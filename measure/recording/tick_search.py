"""Searching a counter's ticks where no rhythm is known: between reads, until some lie in line."""

from __future__ import annotations

from collections import deque

from ..meters import Meter
from .tick_clock import TickClock
from .tick_follow import Following
from .tick_reads import KeptTicks, Pace, Read

LEAST_LENGTHS, MOST_LENGTHS = 2, 64
"""So many ticks in line make a rhythm; twice as many each time that one was wrong."""

HELD_UP_POLLS = 4
"""A tick for which this many polls should have looked is not taken into a line."""

QUIET = 0.85
"""Where there is no rhythm, this part of the shortest recent tick goes by before the next one is
looked for."""


class Search:
    """Takes each read to :meth:`see`, which returns a rhythm as soon as ticks lie in line.

    A rhythm that is given up ends a :class:`.tick_follow.Following`, and another search begins.
    """

    def __init__(self, meter: Meter, kept: KeptTicks, pace: Pace) -> None:
        self._meter = meter
        self._kept = kept
        self._pace = pace
        self._needed_count = LEAST_LENGTHS
        # The rhythm of the ticks in line, as long as it is not believed, and how many there are.
        self._trial: TickClock | None = None
        self._in_line_count = 0
        # Between which two moments the last tick came, and how long the latest ones took.
        self._span_s = (0.0, 0.0)
        self._lengths: deque[float] = deque(maxlen=8)
        # Whether the last read showed no new value, and whether there was a pause before it.
        self._stood = self._paused = False

    def pause(self) -> None:
        """Reading has paused: ticks may have come unseen, so none is in line any more."""
        self._trial, self._in_line_count = None, 0
        self._stood = self._paused = False

    def again(self, *, was_wrong: bool) -> None:
        """A rhythm is given up; one that was wrong has the next one prove itself for longer."""
        if was_wrong:
            self._needed_count = min(2 * self._needed_count, MOST_LENGTHS)
        self._begin(after_pause=True)

    def see(self, last: Read, read: Read) -> Following | None:
        """A tick, if there was one, came after the last read began and before this one ended.

        A counter that changes at every read is as new as the read. The first read after a pause
        cannot tell the two apart, so there it counts as a tick between.
        """
        if read.value == last.value:
            self._stood, self._paused = True, False
            return None
        if not (self._stood or self._paused):
            self._begin(after_pause=False)
            self._kept.keep(read.middle_s, read.value, (read.middle_s - last.middle_s) / 2)
            return None
        before_s, self._span_s = self._span_s, (last.began_s, read.ended_s)
        tick_s, span_s = sum(self._span_s) / 2, read.ended_s - last.began_s
        if self._kept.errors:
            self._lengths.append(tick_s - self._kept.last_s)
        self._kept.keep(tick_s, read.value, span_s / 2)
        if span_s > HELD_UP_POLLS * self._meter.poll_period_s + self._pace.read_s:
            self._in_line_count, self._trial = 0, None
        found = self._rhythm(before_s)
        self._stood = self._paused = False
        if found is None and len(self._lengths) > LEAST_LENGTHS:
            self._pace.due_s = max(self._pace.due_s, tick_s + QUIET * min(self._lengths))
            self._paused = self._pace.due_s > read.began_s + self._meter.poll_period_s
        return found

    def _begin(self, *, after_pause: bool) -> None:
        self._trial, self._in_line_count, self._span_s = None, 0, (0.0, 0.0)
        self._lengths.clear()
        self._stood, self._paused = False, after_pause

    def _rhythm(self, before_s: tuple[float, float]) -> Following | None:
        """Whether the ticks of late lie in line: then their rhythm, to be followed."""
        self._in_line_count += 1
        if self._in_line_count == 1:
            return None
        if self._trial is None or not self._trial.narrow(self._in_line_count - 1, *self._span_s):
            self._trial, self._in_line_count = TickClock(before_s, self._span_s), 2
            self._kept.number_anew()
            self._kept.note(0, self._kept.count - 2)
        self._kept.note(self._in_line_count - 1)
        early_s, late_s = self._trial.bounds(self._in_line_count)
        is_distinct = 2 * (late_s - early_s + 2 * self._pace.read_s) < self._trial.period_s
        if self._in_line_count < self._needed_count or not is_distinct:
            return None
        following = Following(self._trial, self._kept, self._pace)
        following.expect(self._in_line_count)
        return following
