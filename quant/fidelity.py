"""How near a stored weight is to the one it was made of."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ROWS_ELEMENTS = 2**22
"""So many weights are compared at once, which bounds the memory that comparing takes."""


@dataclass(frozen=True)
class Fidelity:
    """The distance of a weight from its original, over all of its elements.

    ``signal`` is the sum of the original's squares and ``noise`` that of the errors, so that those
    of several layers add up. ``max_error`` is in the weights' own unit.
    """

    signal: float
    noise: float
    dot: float
    restored: float
    max_error: float

    @property
    def distortion(self) -> float | None:
        """Normalised mean squared error, noise over signal; ``None`` for zeros."""
        return self.noise / self.signal if self.signal > 0 else None

    @property
    def sqnr_db(self) -> float | None:
        """Signal to quantization noise ratio in dB; infinite where nothing was lost."""
        if self.signal <= 0:
            return None
        return 10 * log10(self.signal / self.noise) if self.noise > 0 else inf

    @property
    def cosine(self) -> float | None:
        """Cosine of the angle between both weights; ``None`` where one is zero."""
        length = (self.signal * self.restored) ** 0.5
        return self.dot / length if length > 0 else None

    def __add__(self, other: Fidelity) -> Fidelity:
        return Fidelity(
            self.signal + other.signal,
            self.noise + other.noise,
            self.dot + other.dot,
            self.restored + other.restored,
            max(self.max_error, other.max_error),
        )


def compare(original: torch.Tensor, restored: torch.Tensor) -> Fidelity:
    """Compare two weights of one shape, any float dtypes; sums are made in fp64.

    Raises:
        ValueError: the shapes differ.
    """
    import torch

    if original.shape != restored.shape:
        raise ValueError(
            f"a weight of shape {tuple(restored.shape)} cannot be compared with its original of "
            f"shape {tuple(original.shape)}"
        )
    total = Fidelity(0.0, 0.0, 0.0, 0.0, 0.0)
    parts = zip(
        original.reshape(-1).split(ROWS_ELEMENTS),
        restored.reshape(-1).split(ROWS_ELEMENTS),
        strict=True,
    )
    for before, after in parts:
        x, y = before.to(torch.float64), after.to(torch.float64)
        error = y - x
        sums = (x @ x, error @ error, x @ y, y @ y, error.abs().max())
        total += Fidelity(*(float(value) for value in sums))
    return total
