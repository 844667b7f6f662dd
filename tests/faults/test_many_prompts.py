"""Many prompts, each watched, while the HUD looks on: nothing piles up in the server."""

import json
import urllib.request

import psutil

from ..nodes.posting import post
from ..waiting import until


def test_nothing_piles_up(comfy_server, soaks, figures):
    prompts = 300 if soaks else 12
    below = psutil.Process(comfy_server._process.pid).children()
    [server] = [child for child in below if "main.py" in " ".join(child.cmdline())]
    seen = []
    for number in range(prompts):
        graph = {
            "1": {
                "class_type": "EmptyImage",
                "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": number},
            },
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
            "3": {"class_type": "WattBenchWatchGraph", "inputs": {"folder": "many"}},
        }
        post(comfy_server, "/wattbench/live", {"watcher": "soak", "interval_s": 0.5})
        prompt_id = post(comfy_server, "/prompt", {"prompt": graph})["prompt_id"]
        until(lambda prompt_id=prompt_id: has_ended(comfy_server, prompt_id), 300, 0.02)
        if number >= prompts // 3:
            memory = server.memory_info().rss
            seen.append((memory, server.num_threads(), server.num_fds()))
    post(comfy_server, "/wattbench/live", {"watcher": "soak", "leave": True})
    first, last = seen[0], seen[-1]
    figures(
        prompts=prompts,
        rss_growth_bytes=last[0] - first[0],
        threads=(first[1], last[1]),
        descriptors=(first[2], last[2]),
    )
    assert last[1] <= first[1] + 2
    assert last[2] <= first[2] + 4
    if soaks:
        assert last[0] - first[0] < 48 * 2**20
        table = comfy_server.output_directory / "many" / "nodes.csv"
        assert table.read_text("utf-8").count("PreviewImage") == prompts


def has_ended(server, prompt_id):
    address = f"http://{server.client.address}/history/{prompt_id}"
    with urllib.request.urlopen(address, timeout=60) as response:
        found = json.load(response)
    return found.get(prompt_id, {}).get("status", {}).get("completed")
