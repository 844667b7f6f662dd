"""What the pack adds to ComfyUI's start, in seconds: the time in which ComfyUI loads it.

    python benchmarks/import_time.py [--repeats 10]

Each repeat is a fresh process that has ComfyUI loaded already, as it has when packs are loaded.
The goal is 0.1 s at most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pack import import_pack

GOAL_S = 0.1
HEAVY = ("jinja2", "matplotlib", "pandas", "pyarrow", "ray", "scipy", "skimage", "transformers")
ROOT = Path(__file__).resolve().parent.parent
ROOMS = {path.parent.name for path in ROOT.glob("[!.]*/__init__.py")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(load()))
        return 0
    command = [sys.executable, __file__, "--once"]
    loads = []
    for _ in range(args.repeats):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        loads.append(json.loads(done.stdout.splitlines()[-1]))
    seconds = [load["seconds"] for load in loads]
    print(f"rooms: {', '.join(loads[0]['rooms'])}")
    print(f"packages: {', '.join(loads[0]['packages']) or 'none'}")
    estimate = import_pack()("stats").estimate(seconds, "s")
    spread = "" if estimate.half_width is None else f" ± {estimate.half_width:.3f}"
    print(
        f"import: {estimate.value:.3f}{spread} s (95 %, n {estimate.n}), "
        f"least {min(seconds):.3f} s, goal {GOAL_S} s"
    )
    return int(min(seconds) > GOAL_S)


def load() -> dict[str, Any]:
    """What ComfyUI takes to load the pack, once: seconds, our rooms, packages of others."""
    wattbench = import_pack()
    comfyui = wattbench("hosts.remote.server").find_comfyui(None)
    nodes = wattbench("hosts.comfyui.inprocess").load_comfyui(comfyui, cpu=True)
    # ComfyUI loads these before the first pack, or for it, whichever pack that is.
    import comfy_config.config_parser  # noqa: F401
    import server  # noqa: F401

    for name in [name for name in sys.modules if name.split(".")[0] == "wattbench"]:
        del sys.modules[name]
    before = set(sys.modules)
    start_s = time.perf_counter()
    loaded = asyncio.run(nodes.load_custom_node(str(ROOT)))
    seconds = time.perf_counter() - start_s
    if not loaded:
        raise SystemExit("ComfyUI could not load the pack; start ComfyUI and look at its log")
    new = [name.split(".") for name in sys.modules.keys() - before]
    # ComfyUI names a pack by its folder.
    ours = {words[-1] for words in new if words[-1] in ROOMS and len(words) > 1}
    others = {words[0] for words in new if words[0] in HEAVY}
    return {"seconds": seconds, "rooms": sorted(ours), "packages": sorted(others)}


if __name__ == "__main__":
    sys.exit(main())
