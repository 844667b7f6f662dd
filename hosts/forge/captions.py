"""What runs cost, in a line, and below a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modules import images

from ...records import COMPUTE_PHASES, Run

CAPTION_SHARE = 1 / 16
"""Height of a caption, of its picture's."""


def captioned(picture: Any, runs: Sequence[Run]) -> Any:
    """A picture of Pillow's with what the mean of ``runs`` cost, on a strip below it."""
    from PIL import Image, ImageDraw

    height = max(14, round(picture.height * CAPTION_SHARE))
    canvas = Image.new("RGB", (picture.width, picture.height + height), "white")
    canvas.paste(picture, (0, 0))
    font = images.get_font(round(height * 0.7))
    place = (4, picture.height + round(height * 0.1))
    ImageDraw.Draw(canvas).text(place, cost_text(runs), fill="black", font=font)
    return canvas


def cost_text(runs: Sequence[Run]) -> str:
    """Seconds and joules of a picture, as the mean over the runs that count."""
    counted = [run for run in runs if run.counts]
    if not counted:
        return "not counted"
    pictures = sum(run.condition.batch_size or 1 for run in counted)
    seconds = sum(
        phase.duration_s for run in counted for phase in run.phases if phase.name in COMPUTE_PHASES
    )
    energies = [run.energy.energy_j for run in counted if run.energy is not None]
    known = len(energies) == len(counted)
    joules = f"{sum(energies) / pictures:.4g} J/img" if known else "joules unknown"
    return f"{joules}, {seconds / pictures:.4g} s/img"
