"""Samples of a run that was read, packed: of a hundred thousand runs there are millions."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, overload

from ...records import CounterSample, PowerSample

Sample = TypeVar("Sample", PowerSample, CounterSample)


class Packed(Sequence[Sample], Generic[Sample]):
    """Samples as bare numbers: 16 bytes each, where a tuple of them takes 120.

    Equal to a tuple of the same samples. ``numbers`` are times and values in turn.
    """

    __slots__ = ("kind", "numbers")

    def __init__(self, kind: type[Sample], numbers: array[float]) -> None:
        self.kind: type[Sample] = kind
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers) // 2

    def __iter__(self) -> Iterator[Sample]:
        numbers = iter(self.numbers)
        return map(self.kind, numbers, numbers)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Sample, ...]: ...
    def __getitem__(self, place: int | slice) -> Sample | tuple[Sample, ...]:
        if isinstance(place, slice):
            return tuple(self[one] for one in range(*place.indices(len(self))))
        first = 2 * range(len(self))[place]
        return self.kind(self.numbers[first], self.numbers[first + 1])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Packed):
            return self.kind is other.kind and self.numbers == other.numbers
        return isinstance(other, tuple) and tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
