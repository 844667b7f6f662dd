"""How counters ticked when they were last watched, for the instrument that is opened next."""

from __future__ import annotations

from copy import copy

from .tick_clock import TickClock


class Rhythms:
    """The last rhythm of each meter, by name. May be used by several threads.

    A rhythm that has grown old is doubted by itself: its bounds grow with the time that it has not
    been watched, and it is not believed before it has been seen to hold.
    """

    def __init__(self) -> None:
        self._clocks: dict[str, TickClock] = {}

    def of(self, meter: str) -> TickClock | None:
        """A copy of the meter's rhythm, if one is known."""
        return copy(self._clocks.get(meter))

    def keep(self, meter: str, clock: TickClock | None) -> None:
        """Remember how a meter ticked, or that it was found to have no rhythm."""
        if clock is None:
            self._clocks.pop(meter, None)
        else:
            self._clocks[meter] = copy(clock)
