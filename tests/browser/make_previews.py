"""Photograph the workflows in ComfyUI's real frontend: their previews, and the README's table.

Run by hand when a workflow or a node's face changes, with ComfyUI where ``COMFYUI_PATH`` or
``tasks.py setup`` has it: ``python tests/browser/make_previews.py [NAME ...]``; without a name, all
of them. Workflows of tiny synthetic models run first, so that their previews show what they give.
Energy is the labelled estimate, for want of a meter on just any machine.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from frontend import Frontend
from PIL import Image
from studio import studio

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "images" / "summary.png"
TABLE_OF = "quickstart"
BADGES = "WattBench.Watch.Badges"
BADGES_OF = "watch_any_workflow"
WIDTH_PX = 800
MAX_BYTES = 120_000
MARGIN_PX = 24
MODEL_FOLDERS = ("checkpoints", "diffusion_models", "loras", "text_encoders", "vae")
SETTINGS = {
    "Comfy.VueNodes.Enabled": False,
    "Comfy.ColorPalette": "dark",
    "Comfy.Locale": "en",
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
    "Comfy.Graph.CanvasMenu": False,
}

FRAME = """([margin, scale]) => {
    const boxes = app.rootGraph.nodes.map((n) => n.boundingRect);
    const left = Math.min(...boxes.map((b) => b[0]));
    const top = Math.min(...boxes.map((b) => b[1]));
    const right = Math.max(...boxes.map((b) => b[0] + b[2]));
    const bottom = Math.max(...boxes.map((b) => b[1] + b[3]));
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [margin - left, margin - top];
    app.canvas.setDirty(true, true);
    return [right - left + 2 * margin, bottom - top + 2 * margin];
}"""
ONLY_THE_GRAPH = ".no-drag.fixed, .p-toast, .p-dialog-mask { display: none !important }"
TABLE_NODE = """() => {
    const node = app.rootGraph.nodes.find((n) => n.type === "WattBenchShowSummary");
    const canvas = app.canvasEl.getBoundingClientRect();
    app.canvas.deselectAll();
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [40 - node.pos[0], 60 - node.pos[1]];
    app.canvas.setDirty(true, true);
    const [x, y, width, height] = node.boundingRect;
    const [dx, dy] = app.canvas.ds.offset;
    return {x: x + dx + canvas.left, y: y + dy + canvas.top, width, height};
}"""
END_OF_TABLES = """(top) => {
    const actions = document.querySelector(".wattbench-actions");
    return actions.getBoundingClientRect().bottom - top + 12;
}"""


def is_tiny(workflow: dict[str, Any]) -> bool:
    """Whether it runs in seconds, without files."""
    return any("tiny" in (node.get("widgets_values") or []) for node in workflow["nodes"])


def name_models(workflow: dict[str, Any], models: Path) -> None:
    """Empty files of the names that the loaders ask for, or they are drawn as faulty."""
    for node in workflow["nodes"]:
        for value in node.get("widgets_values") or []:
            if str(value).endswith(".safetensors"):
                for folder in MODEL_FOLDERS:
                    (models / folder).mkdir(parents=True, exist_ok=True)
                    (models / folder / value).touch()


def photograph(frontend: Frontend) -> Image.Image:
    """The whole graph that is open, without the rest of the frontend."""
    page = frontend.page
    width, height = page.evaluate(FRAME, [MARGIN_PX, 1])
    page.set_viewport_size({"width": round(width), "height": round(height)})
    page.evaluate(FRAME, [MARGIN_PX, 1])
    page.wait_for_timeout(1000)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def save_preview(picture: Image.Image, path: Path) -> None:
    """A JPEG of :data:`WIDTH_PX`, as good as :data:`MAX_BYTES` allow."""
    height = round(picture.height * WIDTH_PX / picture.width)
    small = picture.resize((WIDTH_PX, height), Image.Resampling.LANCZOS)
    for quality in range(90, 30, -5):
        small.save(path, quality=quality, optimize=True, progressive=True)
        if path.stat().st_size <= MAX_BYTES:
            return
    raise ValueError(f"{path.name} is larger than {MAX_BYTES} bytes at any quality")


def main() -> None:
    names = sys.argv[1:] or ["*"]
    paths = sorted(path for name in names for path in (ROOT / "workflows").glob(f"{name}.json"))
    workflows = {path: json.loads(path.read_text("utf-8")) for path in paths}
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        for workflow in workflows.values():
            name_models(workflow, models)
        arguments = ["--models-directory", str(models)]
        with studio(Path(folder), "estimate", SETTINGS, (1600, 1000), arguments) as frontend:
            frontend.page.evaluate("app.extensionManager.focusMode = true")
            frontend.page.add_style_tag(content=ONLY_THE_GRAPH)
            for path, workflow in workflows.items():
                make_preview(frontend, path, workflow)


def make_preview(frontend: Frontend, path: Path, workflow: dict[str, Any]) -> None:
    frontend.set(BADGES, path.stem == BADGES_OF)
    frontend.load(workflow, path.stem)
    if is_tiny(workflow):
        frontend.queue()
    if path.stem == BADGES_OF:
        # The costs come when the run has ended.
        frontend.page.locator(".wattbench-watch table").wait_for()
    save_preview(photograph(frontend), path.with_suffix(".jpg"))
    print(path.with_suffix(".jpg"))
    if path.stem == TABLE_OF:
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        clip = frontend.page.evaluate(TABLE_NODE)
        frontend.page.wait_for_timeout(500)
        clip["height"] = frontend.page.evaluate(END_OF_TABLES, clip["y"])
        frontend.page.screenshot(path=TABLE, clip=clip)
        print(TABLE)


if __name__ == "__main__":
    main()
