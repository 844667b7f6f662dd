"""A made-up history: two workflows and a prompt of none, the last one failed."""

from wattbench.measure.graph.history import Entries

GIB = 2**30


def entry(number, workflow_id, factor=1.0, **changes):
    """A prompt of seven nodes, one cached; loading and sampling take ``factor`` as long."""
    load_s, sample_s = 0.8 * factor, 2.4 * factor
    nodes = [
        _node("1", "CheckpointLoaderSimple", "", 0.0, load_s),
        _node("2", "CLIPTextEncode", "Positive", load_s, 0.15),
        _node("3", "CLIPTextEncode", "Negative", load_s + 0.15, 0.1),
        _node("4", "KSampler", "", load_s + 0.3, sample_s),
        _node("5", "VAEDecode", "", load_s + 0.35 + sample_s, 0.5),
        _node("6", "SaveImage", "", load_s + 0.85 + sample_s, 0.2),
        _node("9", "EmptyLatentImage", "", None, None),
    ]
    return {
        "prompt_id": f"p{number}",
        "workflow_id": workflow_id,
        "started_at": f"2026-12-01T00:{10 + number}:05.123+00:00",
        "device": "NVIDIA H200",
        "state": "executed",
        "time_s": load_s + sample_s + 1.1,
        "energy_j": 900.0 * factor,
        "error_j": 60.0,
        "meter": "nvml:0",
        "method": "counter",
        "peak_vram_bytes": 9 * GIB,
        "notes": [],
        "nodes": nodes,
        "loads": [
            _load("2", load_s, "SDXLClipModel", 1.5),
            _load("4", load_s + 1, "SDXL", 4.8),
            _load("4", load_s + 1, "SDXLClipModel", -1.5),
        ],
        "fallbacks": [],
        **changes,
    }


def history():
    fallback = {"node_id": "4", "texts": ["sdpa ran in place of sage_2: <img src=x>"]}
    prompts = (
        entry(0, "w1", 1.3),
        entry(1, "w2", 0.7),
        entry(2, "w1", fallbacks=[fallback]),
        entry(3, None, 0.5, state="failed"),
    )
    return Entries(prompts, 1)


def _node(node_id, class_type, title, start_s, time_s):
    return {
        "node_id": node_id,
        "class_type": class_type,
        "title": title,
        "state": "cached" if time_s is None else "executed",
        "start_s": start_s,
        "time_s": time_s,
        "energy_j": None if time_s is None or time_s < 0.2 else 300 * time_s,
        "peak_vram_bytes": None if time_s is None else 8 * GIB,
        "note": "",
    }


def _load(node_id, t_s, model, gib):
    return {"node_id": node_id, "t_s": t_s, "model": model, "bytes": int(gib * GIB)}
