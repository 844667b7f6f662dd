"""The pictures of one run of Forge, as they come out of its VAE."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from ...quality.difference import broken
from ...records import PictureCheck


class Pictures:
    """Looks at the pictures of a run, batch by batch, and keeps none."""

    def __init__(self) -> None:
        self.count = 0
        self._faults: dict[str, None] = {}
        self._digest = hashlib.sha256()

    def add(self, images: Any) -> None:
        """Pictures as a tensor ``[n, channels, height, width]`` between 0 and 1.

        They are rounded as Forge rounds them for a PNG.
        """
        arrays = np.moveaxis(images.float().cpu().numpy(), 1, -1)
        self.count += len(arrays)
        self._faults.update(dict.fromkeys(filter(None, map(broken, arrays))))
        eight_bit = (255.0 * arrays).clip(0, 255).astype(np.uint8)
        self._digest.update(np.ascontiguousarray(eight_bit).tobytes())

    def check(self) -> PictureCheck | None:
        """What was seen; ``None`` where there was no picture."""
        if not self.count:
            return None
        return PictureCheck("", "; ".join(self._faults), sha256=self._digest.hexdigest())
