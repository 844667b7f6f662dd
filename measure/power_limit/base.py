"""What a power limit is: the watts that a board's firmware holds it to, which may be set.

To add a vendor, write a :class:`PowerLimitSource` in a file of its own and put it into ``LIMITS``.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass

from ...offer import Offer

SETTLE_TIMEOUT_S = 5.0
TOLERANCE_W = 1.0
"""Some drivers round a limit to whole watts."""

RIGHTS = (
    "changing it needs an administrator: on Linux add --sudo (after `sudo -v`) or be root, on "
    "Windows use an administrator's terminal"
)


class PowerLimitError(RuntimeError):
    """A limit cannot be read or set; the message says why and what to do."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class LimitRange:
    """The limits that a board takes, in watts; ``default_w`` is ``None`` where it does not tell."""

    minimum_w: float
    maximum_w: float
    default_w: float | None

    def differs(self, now_w: float) -> bool:
        """Whether a limit is known not to be the default."""
        return self.default_w is not None and abs(now_w - self.default_w) > TOLERANCE_W


class PowerLimit(ABC):
    """The limit of one board. Every method but :meth:`close` may raise PowerLimitError."""

    name: str
    """As the meter of the same board: ``nvml:0``."""
    label: str
    """What the board is called."""
    identity: str
    """What stays the board's own when boards are added: its UUID, or its PCI address."""
    allowed: LimitRange

    @abstractmethod
    def read_w(self) -> float:
        """The limit that is set now, in watts."""

    @abstractmethod
    def write_w(self, limit_w: float) -> None:
        """Ask the driver for another limit; it may take effect a moment later."""

    @abstractmethod
    def close(self) -> None:
        """Release the board. Its limit stays as it is."""

    def set_w(self, limit_w: float) -> float:
        """Set the limit and wait until it reads back; returns what it reads, in watts.

        Raises:
            PowerLimitError: it cannot be set, or reads something else after a few seconds.
        """
        self.write_w(limit_w)
        deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
        while True:
            now_w = self.read_w()
            if abs(now_w - limit_w) <= TOLERANCE_W:
                return now_w
            if time.monotonic() > deadline_s:
                raise PowerLimitError(
                    f"{self.name} was set to {limit_w:g} W and accepted it, but reads {now_w:g} W",
                    "does another program hold its limit?",
                )
            time.sleep(0.05)


class PowerLimitSource(ABC):
    """One vendor's way to limits."""

    key: str
    """The part of a name before the colon."""

    @abstractmethod
    def probe(self) -> list[Offer]:
        """The boards whose limit can be read, refusals included. Changes nothing, never raises."""

    @abstractmethod
    def open(self, selector: str) -> PowerLimit:
        """The limit of the board ``key:selector``.

        Raises:
            PowerLimitError: no such board, or it tells no limit.
        """

    def _offer(self, selector: str, label: str) -> Offer:
        """The limit ``key:selector`` as it reads now."""
        name = f"{self.key}:{selector}"
        try:
            with closing(self.open(selector)) as limit:
                now_w, allowed = limit.read_w(), limit.allowed
        except PowerLimitError as error:
            return Offer(name, label, False, error.reason, error.remedy)
        default = "" if allowed.default_w is None else f", default {allowed.default_w:g} W"
        if allowed.differs(now_w):
            default += ", which is not the one now"
        span = f"{allowed.minimum_w:g} to {allowed.maximum_w:g} W"
        return Offer(name, f"{label}; {now_w:g} W now, {span}{default}", True)
