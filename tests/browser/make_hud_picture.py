"""Photograph the HUD in ComfyUI's real frontend: ``docs/images/hud.png``.

Run by hand when its face changes: ``python tests/browser/make_hud_picture.py``. The meter is a
recording made up here, and the picture says so: it reads *simulated*.
"""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
from pathlib import Path

from PIL import Image
from studio import studio

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "hud.png"
WORKFLOW = ROOT / "workflows" / "quickstart.json"
SETTINGS = {"Comfy.ColorPalette": "dark", "Comfy.Locale": "en"}
WATCHED_S = 60
SIZE_PX = (1100, 640)
COLORS = 128


def trace() -> str:
    """Bursts of 12 s at about 290 W between 8 s at 62 W, on a card with 6 to 10 GiB in use."""
    lines = ["t_s,energy_j,power_w,vram_bytes"]
    energy_j = 0.0
    for i in range(6000):
        t_s = i / 10
        is_busy = t_s % 20 > 8
        power_w = 290 + 8 * math.sin(5 * t_s) if is_busy else 62 + math.sin(3 * t_s)
        energy_j += power_w / 10
        lines.append(f"{t_s},{energy_j:.1f},{power_w:.1f},{int((9.8 if is_busy else 6.4) * 2**30)}")
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # The server takes over this folder: the picture shows the file's name without a path.
        os.chdir(folder)
        Path("recording.csv").write_text(trace(), encoding="utf-8")
        with studio(Path(folder), "replay:recording.csv", SETTINGS, SIZE_PX) as frontend:
            frontend.load(json.loads(WORKFLOW.read_text("utf-8")), WORKFLOW.stem)
            frontend.page.locator(".wattbench-badge").click()
            frontend.page.wait_for_timeout(WATCHED_S * 1000)
            frontend.queue()
            frontend.page.wait_for_timeout(2000)
            shot = Image.open(io.BytesIO(frontend.page.screenshot()))
            shot.quantize(COLORS).save(PICTURE, optimize=True)
            print(PICTURE)


if __name__ == "__main__":
    main()
