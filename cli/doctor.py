"""``wattbench doctor``: what this machine offers, and for what it lacks, why and what to do."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from ..offer import Machine, Offer, machine_of


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    subparsers.add_parser(
        "doctor",
        help="what meters, attention kernels and weight formats this machine offers",
        description="List energy meters, attention kernels and weight formats, and for each that "
        "this machine lacks, why and what to do.",
    )


def run(args: argparse.Namespace) -> int:
    """Print the lists. A lack is no failure: the exit code is 0."""
    from .. import attention
    from ..measure.environment import pack_version
    from ..measure.meters import probe_all
    from ..quant import support

    machine, remark = find_machine()
    print(f"WattBench {pack_version()}")
    print(f"Device: {machine.name or machine.kind}{remark}")
    for title, offers in (
        ("Energy meters", probe_all()),
        ("Attention kernels", attention.offers(machine)),
        ("Weight formats", support.offers(machine)),
    ):
        print(f"\n{title}")
        print("\n".join(lines(offers)))
    return 0


def find_machine() -> tuple[Machine, str]:
    """The device that torch would compute on, and what there is to remark on it."""
    try:
        import torch
    except ImportError:
        return Machine("cpu", ""), " (torch is not installed in this Python: ComfyUI's has it)"
    if not torch.cuda.is_available():
        return Machine("cpu", ""), " (torch sees no CUDA or ROCm device)"
    machine = machine_of(torch.device("cuda", 0))
    if machine.capability is None:
        return machine, f" ({machine.gfx}, ROCm {torch.version.hip})"
    major, minor = machine.capability
    return machine, f" (compute capability {major}.{minor}, CUDA {torch.version.cuda})"


def lines(offers: Iterable[Offer]) -> list[str]:
    """An offer takes a line; a refusal adds its reason and its remedy."""
    text = []
    for offer in offers:
        answer = "yes" if offer.available else "no"
        text.append(f"  {answer:3} {offer.name:18} {offer.description}")
        if not offer.available:
            text.append(f"      why: {offer.reason}")
            if offer.remedy:
                text.append(f"      do:  {offer.remedy}")
    return text
