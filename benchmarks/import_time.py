"""What the pack adds to ComfyUI's start, in seconds: the time in which ComfyUI loads it.

    python benchmarks/import_time.py [--repeats 10]

Each repeat is a fresh process that has ComfyUI loaded already, as it has when packs are loaded.
The goal is 0.1 s at most.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from pathlib import Path

from pack import import_pack

GOAL_S = 0.1
ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(load_seconds())
        return 0
    command = [sys.executable, __file__, "--once"]
    seconds = [
        float(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
        )
        for _ in range(args.repeats)
    ]
    estimate = import_pack()("stats").estimate(seconds, "s")
    spread = "" if estimate.half_width is None else f" ± {estimate.half_width:.3f}"
    print(
        f"import: {estimate.value:.3f}{spread} s (95 %, n {estimate.n}), "
        f"least {min(seconds):.3f} s, goal {GOAL_S} s"
    )
    return int(min(seconds) > GOAL_S)


def load_seconds() -> float:
    """Seconds that ComfyUI takes to load the pack, once."""
    wattbench = import_pack()
    comfyui = wattbench("hosts.remote.server").find_comfyui(None)
    nodes = wattbench("hosts.comfyui.inprocess").load_comfyui(comfyui, cpu=True)
    # ComfyUI loads these before the first pack, or for it, whichever pack that is.
    import comfy_config.config_parser  # noqa: F401
    import server  # noqa: F401

    for name in [name for name in sys.modules if name.split(".")[0] == "wattbench"]:
        del sys.modules[name]
    start_s = time.perf_counter()
    loaded = asyncio.run(nodes.load_custom_node(str(ROOT)))
    seconds = time.perf_counter() - start_s
    if not loaded:
        raise SystemExit("ComfyUI could not load the pack; start ComfyUI and look at its log")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
