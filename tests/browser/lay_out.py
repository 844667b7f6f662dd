"""Lay out the shipped workflows by the sizes that their nodes really have, in both node renderers.

Run by hand when a workflow or a node changes: ``python tests/browser/lay_out.py [NAME ...]``.
Nodes keep their columns and their order in them; ``test_templates.py`` checks what comes of it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from frontend import Frontend
from studio import studio

ROOT = Path(__file__).parents[2]
SIDE_BY_SIDE_PX, BELOW_PX = 70, 60
TITLE_PX = 30
SAME_COLUMN_PX = 40

BOXES = """() => {
    const { scale } = app.canvas.ds;
    return app.rootGraph.nodes.map((node) => {
        const element = document.querySelector(
            `[data-testid=transform-pane] [data-node-id="${node.id}"]`);
        const box = LiteGraph.vueNodesMode && element?.getBoundingClientRect();
        const [width, height] = box
            ? [box.width / scale, box.height / scale - LiteGraph.NODE_TITLE_HEIGHT]
            : node.size;
        return { id: `${node.id}`, type: node.type, x: node.pos[0], y: node.pos[1], width, height };
    });
}"""
"""Where each node's body is and how large it is drawn, in the canvas's units; a title is above."""


def boxes_of(frontend: Frontend, workflow: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The boxes of the nodes as they are drawn, when the page has settled."""
    frontend.load(workflow, name)
    page = frontend.page
    page.evaluate("app.canvas.ds.scale = 0.4; app.canvas.setDirty(true, true)")
    found, before = page.evaluate(BOXES), None
    while found != before or len(found) < len(workflow["nodes"]):
        page.wait_for_timeout(400)
        found, before = page.evaluate(BOXES), found
    return found


def laid_out(workflow: dict[str, Any], sizes: dict[str, tuple[float, float]]) -> None:
    """Move the nodes of a workflow so that none of these sizes overlaps another."""
    columns: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for node in sorted(workflow["nodes"], key=lambda n: n["pos"][0]):
        near = [x for x in columns if abs(x - node["pos"][0]) < SAME_COLUMN_PX]
        columns[near[0] if near else node["pos"][0]].append(node)
    right = None
    for x, nodes in sorted(columns.items()):
        left = x if right is None else max(x, right + SIDE_BY_SIDE_PX)
        bottom = None
        for node in sorted(nodes, key=lambda n: n["pos"][1]):
            width, height = sizes[str(node["id"])]
            y = node["pos"][1]
            if bottom is not None:
                y = max(y, bottom + BELOW_PX)
            node["pos"] = [round(left / 10) * 10, -(-y // 10) * 10]
            node["size"] = [max(node["size"][0], round(width)), max(node["size"][1], round(height))]
            bottom = node["pos"][1] + height
        right = left + max(sizes[str(node["id"])][0] for node in nodes)


def main() -> None:
    names = sys.argv[1:] or ["*"]
    paths = sorted(path for name in names for path in (ROOT / "workflows").glob(f"{name}.json"))
    workflows = {path: json.loads(path.read_text("utf-8")) for path in paths}
    sizes: dict[Path, dict[str, tuple[float, float]]] = {path: {} for path in paths}
    settings = {"Comfy.ColorPalette": "dark", "Comfy.Locale": "en"}
    with (
        tempfile.TemporaryDirectory() as folder,
        studio(Path(folder), "estimate", settings, (1600, 1000)) as frontend,
    ):
        for is_vue in (False, True):
            frontend.set("Comfy.VueNodes.Enabled", is_vue)
            frontend.open()
            for path, workflow in workflows.items():
                for box in boxes_of(frontend, workflow, path.stem):
                    width, height = sizes[path].get(box["id"], (0, 0))
                    size = max(width, box["width"]), max(height, box["height"])
                    sizes[path][box["id"]] = size
    for path, workflow in workflows.items():
        laid_out(workflow, sizes[path])
        path.write_text(json.dumps(workflow, indent=2, ensure_ascii=False) + "\n", "utf-8")
        print(path)


if __name__ == "__main__":
    main()
