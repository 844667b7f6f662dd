"""Small pictures of runs, in ComfyUI's temporary folder: it empties that when it starts or ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
from PIL import Image

LONGEST_PX = 256
SUBFOLDER = "wattbench"
SHA256 = re.compile(r"[0-9a-f]{64}")


def keep_thumbnail(sha256: str, images: Any) -> None:
    """Write down the first picture of an IMAGE, ``[batch, height, width, 3]``, under its hash."""
    path = _path(sha256)
    if path.exists():
        return
    eight_bit = (255.0 * images[0].float().cpu().numpy()).clip(0, 255).astype(np.uint8)
    small = Image.fromarray(eight_bit[:, :, :3])
    small.thumbnail((LONGEST_PX, LONGEST_PX))
    path.parent.mkdir(parents=True, exist_ok=True)
    small.save(path)


def thumbnail_of(sha256: str) -> dict[str, str] | None:
    """Where the page finds a run's picture, by the hash in its record; ``None`` if it is gone."""
    if not SHA256.fullmatch(sha256) or not _path(sha256).exists():
        return None
    return {"filename": _path(sha256).name, "subfolder": SUBFOLDER, "type": "temp"}


def _path(sha256: str) -> Path:
    return Path(folder_paths.get_temp_directory()) / SUBFOLDER / f"{sha256}.png"
