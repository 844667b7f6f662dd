"""What a metric of pictures is, and the picture that it looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

Better = Literal["higher", "lower", "neither"]
"""Which of two values is the better picture's; of many metrics neither is."""

LUMA_WEIGHTS = (19595, 38470, 7471)
"""Of red, green and blue in 65536ths: ITU-R BT.601, as Pillow rounds them."""


class UnmeasuredError(ValueError):
    """A picture that a metric says nothing of; the message is the reason of a blank."""


def check_sides(metric: str, least_px: int, picture: np.ndarray) -> None:
    """Raise UnmeasuredError where a side of ``[height, width, ...]`` is shorter than that."""
    if min(picture.shape[:2]) < least_px:
        raise UnmeasuredError(f"{metric} needs {least_px} points a side, got {picture.shape[:2]}")


@dataclass(frozen=True)
class Seen:
    """A picture with what it can be measured against.

    ``picture`` and ``reference`` hold 8-bit values, ``[height, width, 3]``: what a PNG of them
    holds. ``reference`` is the picture of the same prompt and seed that a reference run made.
    """

    picture: np.ndarray
    reference: np.ndarray | None = None
    prompt: str = ""

    @property
    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        """Reference and picture with values between 0 and 1.

        Raises:
            UnmeasuredError: there is no reference, or it has another size.
        """
        if self.reference is None:
            raise UnmeasuredError("no reference picture of this prompt and seed")
        if self.reference.shape != self.picture.shape:
            raise UnmeasuredError("the reference picture has another size")
        return self.reference / 255.0, self.picture / 255.0


@dataclass(frozen=True)
class Network:
    """A loaded model; ``name`` has its files with their SHA-256."""

    name: str
    value: Any


@dataclass(frozen=True)
class Metric:
    """One number of a picture.

    ``measure`` returns it for a picture and the value of the network that ``load`` made of a file
    or folder; where ``load`` is ``None`` it needs none. ``meaning`` is Markdown for the columns'
    page, ``range`` where values can lie. ``needs`` says what a picture is measured against,
    ``point`` how much of it is called a point where losses are told.
    """

    name: str
    unit: str
    better: Better
    range: str
    meaning: str
    measure: Callable[[Seen, Any], float]
    load: Callable[[Path], Network] | None = None
    needs: Literal["", "prompt", "reference"] = ""
    point: float = 1.0


def luma(picture: np.ndarray) -> np.ndarray:
    """Brightness of 8-bit pictures by ITU-R BT.601, rounded to 8 bits as Pillow does it."""
    weighted = picture.astype(np.int64) @ np.array(LUMA_WEIGHTS)
    return ((weighted + 0x8000) >> 16).astype(np.uint8)
