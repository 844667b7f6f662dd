"""What the host pays for an attention call: ComfyUI's own function, and the pack's override.

    python benchmarks/attention_host.py            # the GPU, fp16
    python benchmarks/attention_host.py --cpu

Times the Python of calls on tensors so small that their kernels do not matter: microseconds until
a call returns, in rounds in which the arms take turns, and each arm's median difference to
ComfyUI's PyTorch function without an override (`stock`). Where a model waits for the host, this is
what a choice costs; elsewhere the device hides it. It changes no setting of the card.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pack import import_pack

STOCK = "stock"
HEADS, HEAD_DIM, TOKENS = 2, 64, 8
CALLS = 200
"""Of an arm in a round."""

PLANNING_CALLS = 200
"""After so many calls ``auto`` has looked whether the device is idle, and has chosen."""


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    wattbench = import_pack()
    folder = wattbench("hosts.remote.server").find_comfyui(args.comfyui)
    wattbench("hosts.comfyui.inprocess").load_comfyui(folder, cpu=args.cpu)
    import torch

    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        arms = make_arms(wattbench, args, Path(folder))
        for call in arms.values():
            for _ in range(PLANNING_CALLS):
                call()
        seen = {name: [] for name in arms}
        for _ in range(args.rounds):
            for name, call in arms.items():
                seen[name].append(seconds_each(call))
    for name, seconds in seen.items():
        extra = statistics.median(a - b for a, b in zip(seconds, seen[STOCK], strict=True))
        print(f"{name:16} {statistics.median(seconds) * 1e6:7.2f} us, {extra * 1e6:+6.2f} us")
    return 0


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder")
    return parser.parse_args(arguments)


def make_arms(
    wattbench: Any, args: argparse.Namespace, folder: Path
) -> dict[str, Callable[[], Any]]:
    """A call of ComfyUI's PyTorch attention by arm: without an override, and with each backend."""
    import comfy.ldm.modules.attention as comfy_attention
    import comfy.model_management
    import torch

    device = comfy.model_management.get_torch_device()
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    q = torch.randn((1, TOKENS, HEADS * HEAD_DIM), device=device, dtype=dtype)
    attention, plan = (
        wattbench("hosts.comfyui.attention"),
        wattbench("attention.plan"),
    )
    machine = wattbench("offer").machine_of(device)
    choices = wattbench("attention.choices").Choices(folder / "attention.json")

    def call_with(options: dict[str, Any]) -> Callable[[], Any]:
        return lambda: comfy_attention.attention_pytorch(
            q, q, q, heads=HEADS, mask=None, attn_precision=None, transformer_options=options
        )

    arms = {STOCK: call_with({})}
    for offer in wattbench("attention").offers(machine):
        if offer.available:
            override = attention.Override(plan.Setting(offer.name), machine, choices)
            arms[offer.name] = call_with({attention.OVERRIDE: override})
    override = attention.Override(plan.Setting("auto"), machine, choices)
    return {**arms, "auto": call_with({attention.OVERRIDE: override})}


def seconds_each(call: Callable[[], Any]) -> float:
    """Host seconds of a call; the device is waited for outside of the time."""
    import torch

    start_s = time.perf_counter()
    for _ in range(CALLS):
        call()
    elapsed_s = time.perf_counter() - start_s
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return elapsed_s / CALLS


if __name__ == "__main__":
    sys.exit(main())
