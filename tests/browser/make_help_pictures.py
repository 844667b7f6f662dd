"""Photograph each node in ComfyUI's real frontend, for its help page: ``web/docs/ID/node.png``.

Run by hand when a node's face changes: ``python -m tests.browser.make_help_pictures [ID ...]``;
without a name, all of them. Nodes that show results show made-up ones.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from make_previews import ONLY_THE_GRAPH, SETTINGS, photograph
from PIL import Image
from studio import studio

from tests.browser.made_results import compared

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "web" / "docs"
COLORS = 64
WIDTH_PX = 640

ALONE = """(type) => {
    app.rootGraph.clear();
    const node = LiteGraph.createNode(type);
    node.pos = [60, 60];
    app.rootGraph.add(node);
    // So that its whole title is seen.
    node.setSize([Math.max(node.size[0], 360), node.size[1]]);
    app.canvas.deselectAll();
}"""
GIVE = """async ([key, result]) => {
    const { api } = await import("/scripts/api.js");
    const node = `${app.rootGraph.nodes[0].id}`;
    const detail = { node, display_node: node, prompt_id: "made up", output: { [key]: [result] } };
    api.dispatchCustomEvent("executed", detail);
}"""


def watched() -> dict[str, Any]:
    """A made-up prompt, as Watch Graph shows it."""
    costs = (
        ("1", "CheckpointLoaderSimple", 1.9, 210.0),
        ("2", "CLIPTextEncode", 0.3, 41.0),
        ("4", "KSampler", 6.2, 2010.0),
        ("5", "VAEDecode", 0.5, 118.0),
    )
    kept = {"state": "executed", "title": "", "note": ""}
    nodes = [
        {
            **kept,
            "node_id": number,
            "display_id": number,
            "class_type": kind,
            "time_s": time_s,
            "energy_j": energy_j,
            "peak_vram_bytes": 8 * 2**30,
        }
        for number, kind, time_s, energy_j in costs
    ]
    return {
        "prompt_id": "made up",
        "workflow_id": None,
        "device": "a made-up card",
        "time_s": sum(cost[2] for cost in costs),
        "energy_j": sum(cost[3] for cost in costs),
        "meter": "nvml:0",
        "method": "counter",
        "peak_vram_bytes": 8 * 2**30,
        "file": "wattbench/nodes.csv",
        "notes": [],
        "nodes": nodes,
    }


def results() -> dict[str, tuple[str, Any]]:
    """What nodes show, by the key of their output."""
    exported = "12 runs went into output/wattbench: runs.csv, summary.csv, report.md, steps.csv"
    return {
        "WattBenchShowSummary": ("wattbench_summary", compared()),
        "WattBenchWatchGraph": ("wattbench_watch", watched()),
        "WattBenchExportCSV": ("text", exported),
        "WattBenchExportReport": ("text", "12 runs went into output/wattbench/report.html"),
    }


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in DOCS.glob("*.md"))
    shown = results()
    with (
        tempfile.TemporaryDirectory() as folder,
        studio(Path(folder), "estimate", SETTINGS, (1600, 1000)) as frontend,
    ):
        frontend.page.evaluate("app.extensionManager.focusMode = true")
        frontend.page.add_style_tag(content=ONLY_THE_GRAPH)
        for name in names:
            frontend.page.evaluate(ALONE, name)
            frontend.wait_for_nodes()
            if name in shown:
                frontend.page.evaluate(GIVE, list(shown[name]))
            frontend.page.wait_for_timeout(500)
            picture = photograph(frontend)
            height = round(picture.height * WIDTH_PX / picture.width)
            small = picture.resize((WIDTH_PX, height), Image.Resampling.LANCZOS)
            path = DOCS / name / "node.png"
            path.parent.mkdir(exist_ok=True)
            small.quantize(COLORS).save(path, optimize=True)
            print(path.relative_to(ROOT), path.stat().st_size)


if __name__ == "__main__":
    main()
