"""Watching an energy counter for its ticks with as few reads as can be.

At first the counter is read often, and ticks are searched between reads (:mod:`.tick_search`). As
soon as some of them lie in line there is a rhythm to be followed (:mod:`.tick_follow`), and one
read right after each tick is enough, until a tick contradicts the rhythm and another search begins.
A :class:`.tick_clock.TickClock` knows when a tick of a rhythm can come.

A thread that wakes ten times a second finds the processor's caches cold, and most of what it costs
is that. So between two checks it only reads, and what the reads say is worked out for all of them
at the next check, or when reading ends.
"""

from __future__ import annotations

import math

from ..meters import Meter
from ..meters.timed_read import timed_read
from .samples import Samples
from .tick_clock import TickClock
from .tick_follow import Following, Verdict
from .tick_reads import KeptTicks, Pace, Read
from .tick_search import Search

LEARN_S = 1e-5
"""By so much a read changes the estimate of how late the machine wakes who reads, a running median.
A read in the middle of a short time has to be asked for that much earlier."""


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
        self._meter = meter
        self._kept, self._pace = KeptTicks(samples), Pace()
        self._search = Search(meter, self._kept, self._pace)
        self._following: Following | None = None
        if clock is not None:
            self._following = Following(clock, self._kept, self._pace)
        # Reads made, and the last one of which it has been worked out what it says.
        self._reads: list[Read] = []
        self._last_j = math.nan
        self._last: Read | None = None

    @property
    def clock(self) -> TickClock | None:
        """The rhythm, as soon as there is one."""
        return None if self._following is None else self._following.clock

    @property
    def due_s(self) -> float:
        """When to read next."""
        return self._pace.due_s

    @property
    def is_current(self) -> bool:
        """Whether the counter's last tick is known, since the last pause."""
        return self._kept.is_current

    def resume(self) -> None:
        """Reading has paused, by any time; what went on meanwhile is not known."""
        self._pace.due_s, self._pace.usual_count = 0.0, 0
        self._kept.is_current = False
        if self._following is None or not self._following.is_confirmed:
            self._last = None
            self._search.pause()

    def read(self) -> bool:
        """Read the counter; false where the meter has none.

        Reads that come when they should, and show a new value each, are left for :meth:`digest`:
        done for many at once that takes a fraction of the time.

        Raises:
            MeterReadError: it fails.
        """
        began_s, ended_s, energy_j = timed_read(self._meter.read_energy_j)
        if energy_j is None:
            return False
        pace = self._pace
        is_usual = ended_s < pace.usual_until_s and energy_j != self._last_j
        self._last_j = energy_j
        self._reads.append(Read(began_s, ended_s, energy_j))
        if is_usual and pace.usual_count > 0:
            pace.usual_count -= 1
            pace.usual_until_s += pace.stride_s
            pace.due_s += pace.stride_s
        else:
            is_later = began_s - pace.due_s > pace.lateness_s
            pace.lateness_s += LEARN_S if is_later else -LEARN_S
            self.digest()
        return True

    def digest(self) -> None:
        """Find the ticks in the reads made so far."""
        reads, self._reads = self._reads, []
        pace, period_s = self._pace, self._meter.poll_period_s
        for read in reads:
            pace.usual_count = 0
            last, self._last = self._last, read
            pace.read_s = min(pace.read_s, read.cost_s)
            pace.due_s = max(read.ended_s, read.began_s + period_s)
            if self._meter.is_computed:
                self._kept.keep(read.middle_s, read.value, period_s / 2)
            elif last is None:
                self._begin(read)
            elif self._following is not None:
                self._follow(self._following, last, read)
            else:
                self._look_for_a_rhythm(last, read)

    def _begin(self, read: Read) -> None:
        self._kept.begin(read)
        if self._following is None:
            return
        verdict = self._following.begin(read)
        if verdict == "open":
            self._last = None
        elif verdict == "old":
            self._following = None
        else:
            self._judge(verdict)

    def _follow(self, following: Following, last: Read, read: Read) -> None:
        is_new = read.value != self._kept.value_j
        verdict = following.see(last, read)
        self._judge(verdict)
        if verdict == "wrong" and is_new:
            self._look_for_a_rhythm(last, read)

    def _look_for_a_rhythm(self, last: Read, read: Read) -> None:
        self._following = self._search.see(last, read)
        if self._following is not None:
            self._judge(self._following.plan())

    def _judge(self, verdict: Verdict) -> None:
        """A rhythm that does not hold is given up."""
        if verdict != "holds":
            self._following = None
            self._search.again(was_wrong=verdict == "wrong")
