"""Apple silicon: refused, and why. There is no public way to its energy without root."""

from __future__ import annotations

import sys

from .base import Meter, MeterSource, MeterUnavailableError, Offer

_REFUSAL = (
    "macOS gives the energy of the GPU and the package only to powermetrics, which needs root; "
    "what other tools read is a private interface"
)
_ELSEWHERE = "Apple's meter needs macOS"
_REMEDY = "set WATTBENCH_METER=estimate to opt in to a labelled estimate"


class AppleSource(MeterSource):
    """Never available; it exists so that ``auto`` and ``wattbench doctor`` can say why."""

    key = "apple"

    def probe(self) -> list[Offer]:
        reason = _REFUSAL if sys.platform == "darwin" else _ELSEWHERE
        return [Offer(self.key, "Apple silicon", False, reason, _REMEDY)]

    def open(self, selector: str) -> Meter:
        raise MeterUnavailableError(self.probe()[0].reason, _REMEDY)
