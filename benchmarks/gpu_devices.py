"""Does the meter follow the GPU that computes, whatever CUDA_VISIBLE_DEVICES says?

    python benchmarks/gpu_devices.py

Wants two NVIDIA GPUs or more. For each form of the mask (numbers, reversed, UUIDs, part of a UUID)
a fresh process loads every GPU that torch sees, one after another, and reads the energy counters of
all boards: the board that ``auto`` chose must be the one that drew the energy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from pack import import_pack

LOAD_S = 1.5
MATRIX_SIZE = 8192


def main() -> int:
    if sys.argv[1:] == ["--load"]:
        print(json.dumps(load_each()))
        return 0
    uuids = board_uuids()
    if len(uuids) < 2:
        print(f"this needs two NVIDIA GPUs or more; {len(uuids)} found")
        return 1
    wrong = 0
    for mask in masks(uuids):
        for device, row in enumerate(in_fresh_process(mask)):
            right = row["meter"] == row["busiest"]
            wrong += not right
            print(
                f"{'ok   ' if right else 'WRONG'} CUDA_VISIBLE_DEVICES={mask or '(unset)'} "
                f"cuda:{device} -> {row['meter']}, {row['energy_j']} J by board"
            )
    return int(wrong > 0)


def masks(uuids: list[str]) -> list[str]:
    """Forms of the mask that the CUDA documentation names; the empty one stands for none."""
    last, first = uuids[-1], uuids[0]
    return ["", "1", "1,0", last, f"{last},{first}", last[: len("GPU-") + 8]]


def in_fresh_process(mask: str) -> list[dict[str, Any]]:
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    if mask:
        environment["CUDA_VISIBLE_DEVICES"] = mask
    command = [sys.executable, __file__, "--load"]
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return list(json.loads(answer.stdout.splitlines()[-1]))


def board_uuids() -> list[str]:
    """In NVML's order, which no mask changes; none where there is no NVIDIA driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        print(f"NVML: {error}", file=sys.stderr)
        return []
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()


def load_each() -> list[dict[str, Any]]:
    """For each GPU that torch sees: the meter chosen for it, and what every board drew."""
    import pynvml
    import torch

    wattbench = import_pack()
    pynvml.nvmlInit()
    boards = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    rows = []
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        meter = wattbench("measure.meters").open_meter(
            "auto", wattbench("measure.recording.environment").identify(device)
        )
        before = [pynvml.nvmlDeviceGetTotalEnergyConsumption(board) for board in boards]
        multiply(device)
        after = [pynvml.nvmlDeviceGetTotalEnergyConsumption(board) for board in boards]
        joules = [round((b - a) / 1e3) for a, b in zip(before, after, strict=True)]
        busiest = f"nvml:{max(range(len(joules)), key=joules.__getitem__)}"
        rows.append({"meter": meter.name, "busiest": busiest, "energy_j": joules})
        meter.close()
    pynvml.nvmlShutdown()
    return rows


def multiply(device: Any) -> None:
    """Keep a GPU busy with matrix products for ``LOAD_S`` seconds."""
    import torch

    matrix = torch.randn(MATRIX_SIZE, MATRIX_SIZE, device=device, dtype=torch.bfloat16)
    end_s = time.perf_counter() + LOAD_S
    while time.perf_counter() < end_s:
        matrix @ matrix
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
