"""Photograph the HUD in ComfyUI's real frontend: ``docs/images/hud.png``.

Run by hand when its face changes: ``python tests/browser/make_hud_picture.py``. The meter is a
recording made up here, and the picture says so: it reads *simulated*.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from studio import studio

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "hud.png"
WORKFLOW = ROOT / "workflows" / "quickstart.json"
SETTINGS = {"Comfy.ColorPalette": "dark", "Comfy.Locale": "en"}
WATCHED_S = 60
SIZE_PX = (1240, 760)
FULL_PX, SMALL_PX = 256, 64
SETTLED_MS = 8000
LEFT_PX, TOP_PX, SCALE = 400, 130, 0.42
"""Where the graph begins, right of the tab, and how large it is drawn."""

BESIDE_THE_TAB = """([x, y, scale]) => {
    const boxes = app.rootGraph.nodes.map((node) => node.boundingRect);
    const left = Math.min(...boxes.map((box) => box[0]));
    const top = Math.min(...boxes.map((box) => box[1]));
    const canvas = app.canvasEl.getBoundingClientRect();
    app.canvas.deselectAll();
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [(x - canvas.left) / scale - left, (y - canvas.top) / scale - top];
    app.canvas.setDirty(true, true);
}"""
COLORS = 256


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


def small(workflow: dict[str, Any]) -> dict[str, Any]:
    """With pictures that take a busy CPU seconds: none of them is looked at here."""
    (benchmark,) = (n for n in workflow["nodes"] if n["type"] == "WattBenchBenchmark")
    values = benchmark["widgets_values"]
    values[:] = [SMALL_PX if value == FULL_PX else value for value in values]
    return workflow


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.csv"
        recording.write_text(trace(), encoding="utf-8")
        with studio(Path(folder), f"replay:{recording}", SETTINGS, SIZE_PX) as frontend:
            frontend.load(small(json.loads(WORKFLOW.read_text("utf-8"))), WORKFLOW.stem)
            frontend.page.locator(".wattbench-badge").click()
            frontend.page.wait_for_timeout(WATCHED_S * 1000)
            frontend.queue()
            frontend.page.evaluate(BESIDE_THE_TAB, [LEFT_PX, TOP_PX, SCALE])
            # The note on the job's end has gone, and the graph is drawn.
            frontend.page.locator(".wattbench-card").wait_for()
            frontend.page.wait_for_timeout(SETTLED_MS)
            shot = Image.open(io.BytesIO(frontend.page.screenshot()))
            shot.quantize(COLORS).save(PICTURE, optimize=True)
            print(PICTURE)


if __name__ == "__main__":
    main()
