"""What the history costs: prompts in a real ComfyUI on the CPU with and without it, in pairs.

    python benchmarks/history_overhead.py [--pairs 20] [--prompts 5] [--comfyui FOLDER]

Two kinds of prompts: a picture by core's nodes and a tiny SDXL, and a hundred nodes that do next to
nothing, which is where a cost per node shows. An arm is some prompts that are queued at once, until
the queue is empty, so that what is done between two prompts counts too. Its time is told, and the
server's CPU time, which a busy machine does not change. The arms of a pair take turns in going
first, and no two prompts are alike: ComfyUI would not compute the second.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from pack import import_pack

ROUTE = "/wattbench/history"
MOST = 10
CHEAP_NODES = 100
LOOK_S = 0.01
LONGEST_S = 600
Graph = dict[str, dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=5, help="in an arm")
    parser.add_argument(
        "--threads", type=int, default=1, help="of torch; several wait for one another when busy"
    )
    parser.add_argument("--comfyui", type=Path)
    args = parser.parse_args()
    wattbench = import_pack()
    remote = wattbench("hosts.remote.server")
    with (
        tempfile.TemporaryDirectory() as folder,
        remote.ComfyServer(
            remote.find_comfyui(args.comfyui),
            base_directory=Path(folder),
            arguments=["--cpu"],
            environment={"WATTBENCH_METER": "estimate", "OMP_NUM_THREADS": f"{args.threads}"},
        ) as server,
    ):
        for name, graph_of in (("a picture", picture), (f"{CHEAP_NODES} nodes", cheap_nodes)):
            off, on = measured_pairs(server.client, graph_of, args.pairs, args.prompts)
            for what in ("time", "CPU time"):
                first, second = ([one[what] for one in arm] for arm in (off, on))
                ratio = wattbench("stats").paired_ratio(first, second).ratio
                a_prompt_s = sum(first) / len(first) / args.prompts
                print(
                    f"{name}: {what} {a_prompt_s:.4f} s a prompt; with the history over without: "
                    f"{ratio.value:.4f} [{ratio.ci_low:.4f}, {ratio.ci_high:.4f}] "
                    f"(95 %, {ratio.n} pairs)",
                    flush=True,
                )
    return 0


def measured_pairs(
    client: Any, graph_of: Callable[[int], Graph], pairs: int, prompts: int
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Seconds of each arm without and with the history."""
    seeds = itertools.count(1)
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}

    def arm(is_on: bool) -> dict[str, float]:
        post(client, ROUTE, {"most": MOST if is_on else 0})
        graphs = [graph_of(next(seeds)) for _ in range(prompts)]
        start_s, start_cpu_s = time.perf_counter(), server_cpu_s()
        asked = [post(client, "/prompt", {"prompt": graph})["prompt_id"] for graph in graphs]
        while client.queued():
            if time.perf_counter() > start_s + LONGEST_S:
                sys.exit(f"the prompts of an arm took longer than {LONGEST_S} s")
            time.sleep(LOOK_S)
        taken = {
            "time": time.perf_counter() - start_s,
            "CPU time": server_cpu_s() - start_cpu_s,
        }
        for prompt_id in asked:
            status = client.get_json(f"/history/{prompt_id}")[prompt_id]["status"]
            if status["status_str"] != "success":
                sys.exit(f"a prompt failed: {json.dumps(status)[-2000:]}")
        return taken

    for is_on in (False, True):
        arm(is_on)
    for pair in range(pairs):
        for is_on in (False, True) if pair % 2 else (True, False):
            found[is_on].append(arm(is_on))
    return found[False], found[True]


def server_cpu_s() -> float:
    """CPU time of the server that this process has started."""
    children = psutil.Process().children(recursive=True)
    times = [process.cpu_times() for process in children]
    return sum(one.user + one.system for one in times)


def picture(seed: int) -> Graph:
    """A tiny SDXL's picture, 64 x 64 in 4 steps."""
    synthetic = {"architecture": "sdxl", "size": "tiny", "dtype": "fp32", "seed": 0}
    sampling = {"steps": 4, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"}
    given = {
        "model": ["1", 0],
        "positive": ["2", 0],
        "negative": ["2", 0],
        "latent_image": ["3", 0],
    }
    return {
        "1": {"class_type": "WattBenchSyntheticModel", "inputs": synthetic},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a moth"}},
        "3": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1},
        },
        "4": {
            "class_type": "KSampler",
            "inputs": {**given, **sampling, "seed": seed, "denoise": 1.0},
        },
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
    }


def cheap_nodes(seed: int) -> Graph:
    """A small picture of one colour, inverted again and again."""
    size = {"width": 16, "height": 16, "batch_size": 1}
    graph: Graph = {"1": {"class_type": "EmptyImage", "inputs": {**size, "color": seed}}}
    for number in range(2, CHEAP_NODES):
        image = [f"{number - 1}", 0]
        graph[f"{number}"] = {"class_type": "ImageInvert", "inputs": {"image": image}}
    last = [f"{CHEAP_NODES - 1}", 0]
    graph[f"{CHEAP_NODES}"] = {"class_type": "PreviewImage", "inputs": {"images": last}}
    return graph


def post(client: Any, path: str, body: Any) -> Any:
    """What the server answers to ``body``, as JSON."""
    connection = http.client.HTTPConnection(client.address, timeout=60)
    with contextlib.closing(connection):
        connection.request(
            "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            sys.exit(f"{path} was refused: {response.read().decode()[:500]}")
        return json.load(response)


if __name__ == "__main__":
    sys.exit(main())
