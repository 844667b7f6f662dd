"""Following a counter's ticks where their rhythm is known: one read right after each is enough.

A read that takes the new value shows as well that the tick was not late. As long as the rhythm is
not known well, a read in the middle of the time in which the next tick can lie halves that time.
Now and then a read right before a tick shows that it is not early.
"""

from __future__ import annotations

import math
from typing import Literal

from .tick_clock import TickClock
from .tick_reads import KeptTicks, Pace, Read

FINE_S = 2e-4
"""A rhythm that is known within this, and within what a read takes, is not looked at closer."""

EDGE_S = 5e-4
"""A read that is to be before or after a tick keeps this far away from where the tick can lie."""

FIRST_CHECKS, CHECK_EVERY = 3, 20
"""A rhythm is checked from both sides at its first ticks, and then at every so-many-th one."""

TRUST_CHECKS = 5
"""After so many checks a rhythm that was found uneven is taken to be more even again."""

HELD_UP = 1 / 4
"""A read that ends this part of the period after it was due may have seen a tick more."""

EVEN = 1 / 8
"""A tick that is further off, as a part of the period, ends the rhythm; one that was known before
and by now is known less well than to twice this part is not tried."""

NEAR = 0.05
"""Reads within this part of the period before and after a tick show that it came when it had to."""

BETTER = 0.7
"""Uncertainty over that of the time before, at which the latest ticks are timed anew."""

Verdict = Literal["holds", "open", "old", "vague", "wrong"]
"""What a read says of a rhythm: it holds; which tick the read showed is open; it has not been
watched for too long to be tried; ticks cannot be told apart; a tick contradicts it."""


class Following:
    """Compares each read with the tick that is expected, keeps the tick, and plans the next read.

    A rhythm is not believed before it has been seen to hold.
    """

    def __init__(self, clock: TickClock, kept: KeptTicks, pace: Pace) -> None:
        self.clock = clock
        self.is_confirmed = False
        """Whether the rhythm has been seen to hold."""
        self._kept = kept
        self._pace = pace
        # The tick that is expected, when it can come, and whether that time was halved by a read.
        self._number = 0
        self._early_s = self._late_s = 0.0
        self._has_looked = False
        # Ticks seen from both sides, and the next one to be seen so.
        self._checked_count = self._check_number = 0
        # How well the latest ticks were timed when they were last refined.
        self._refined_s = math.inf

    def expect(self, number: int) -> None:
        """The next tick is this one."""
        self._number, self._has_looked = number, False
        self._early_s, self._late_s = self.clock.bounds(number)

    def begin(self, read: Read) -> Verdict:
        """The first read after a pause."""
        came, may_have_come = self.clock.seen_by(read.began_s, read.ended_s)
        self.expect(may_have_come + 1)
        if self._late_s - self._early_s > 2 * EVEN * self.clock.period_s:
            return "old"
        if came < may_have_come:
            verdict = self._resolve(may_have_come)
            return "open" if verdict == "holds" else verdict
        return self.plan()

    def see(self, last: Read, read: Read) -> Verdict:
        """The tick of the value that was read is the one that was expected, or a later one."""
        if read.value == self._kept.value_j:
            if not self._fits(after_s=read.began_s):
                return "wrong"
            self._kept.is_current = True
            return self.plan()
        came, may_have_come = self.clock.seen_by(read.began_s, read.ended_s)
        if max(came, self._number) < may_have_come:
            return self._resolve(may_have_come)
        if came > self._number:
            self.expect(came)
        if not self._fits(before_s=read.ended_s):
            return "wrong"
        self._keep_expected(last, read)
        return self.plan()

    def plan(self) -> Verdict:
        """When to read next: before the tick, in the middle of where it can lie, or after it.

        Reads after ticks are usual up to the next check, as long as the rhythm stays known well.
        """
        clock, pace = self.clock, self._pace
        width_s = self._late_s - self._early_s
        if width_s > clock.period_s / 2:
            return "vague"
        check_s = self._early_s - EDGE_S - pace.read_s
        fine_s = FINE_S + 1.5 * pace.read_s + 4 * clock.slack_s
        is_checked = self._checked_count < FIRST_CHECKS or self._number >= self._check_number
        if is_checked and pace.due_s <= check_s:
            pace.due_s = check_s
        elif width_s > fine_s and not self._has_looked:
            pace.due_s = self._early_s + (width_s - pace.read_s) / 2 - pace.lateness_s
            self._has_looked = True
        else:
            pace.due_s = self._late_s + EDGE_S
            early_s, late_s = clock.bounds(self._check_number)
            if not is_checked and late_s - early_s <= fine_s + FINE_S:
                ahead = self._check_number - self._number
                pace.usual_count = ahead - 1
                pace.usual_until_s = pace.due_s + HELD_UP * clock.period_s
                pace.stride_s = (late_s - self._late_s) / ahead
        return "holds"

    def _resolve(self, number: int) -> Verdict:
        """Whether a read was before or after this tick is open: read again when it has come."""
        early_s, late_s = self.clock.bounds(number)
        if late_s - early_s > self.clock.period_s / 2:
            return "vague"
        self._pace.due_s = late_s + EDGE_S
        return "holds"

    def _fits(self, after_s: float = -math.inf, before_s: float = math.inf) -> bool:
        """Take note that the tick came between two moments; false where it cannot have.

        A tick that was not where it had to be makes the rhythm less even, or ends it. One that has
        not been seen to hold yet is given up at once.
        """
        if after_s <= self._early_s and before_s >= self._late_s:
            return True
        clock = self.clock
        fits = clock.narrow(self._number, after_s, before_s)
        if not fits:
            off_s = max(after_s - self._late_s, self._early_s - before_s, FINE_S)
            if self.is_confirmed and clock.slack_s + off_s < EVEN * clock.period_s:
                self._checked_count = 0
                clock.loosen(self._number, off_s)
                fits = clock.narrow(self._number, after_s, before_s)
        if fits:
            self._early_s, self._late_s = clock.bounds(self._number)
        return fits

    def _keep_expected(self, last: Read, read: Read) -> None:
        """The tick that was expected has come, by a read right after it or much later.

        Until the rhythm has been seen to hold, ticks are timed by the reads around them.
        """
        near_s = NEAR * self.clock.period_s + 2 * self._pace.read_s
        is_seen = last.began_s > self._early_s - near_s and read.ended_s < self._late_s + near_s
        if is_seen:
            self._checked_count += 1
            self._check_number = self._number + CHECK_EVERY
            if self._checked_count % TRUST_CHECKS == 0:
                self.clock.tighten()
        self.is_confirmed = self.is_confirmed or self._checked_count >= FIRST_CHECKS
        span_s = (self._early_s, self._late_s)
        if not self.is_confirmed:
            span_s = (last.began_s, read.ended_s)
        tick_s, error_s = sum(span_s) / 2, (span_s[1] - span_s[0]) / 2
        self._kept.keep(tick_s, read.value, error_s)
        self._kept.note(self._number)
        if self.is_confirmed and error_s < BETTER * self._refined_s:
            self._refined_s = error_s
            self._kept.refine(self.clock)
        self.expect(self._number + 1)
