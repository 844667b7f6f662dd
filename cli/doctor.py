"""``wattbench doctor``: what this machine offers, and for what it lacks, why and what to do."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from ..offer import Machine, Offer, machine_of
from .run import host_and_port

if TYPE_CHECKING:
    from ..measure.meters.refresh import ChannelFigures

WATCH_S = 3.0
SERVER = ("127.0.0.1", 8188)
"""Where ComfyUI listens if nothing else is said."""

SERVER_TIMEOUT_S = 5.0
MASKS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
"""Environment variables that hide cards."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="what meters, attention kernels and weight formats this machine offers",
        description="List energy meters, power limits, attention kernels and weight formats, and "
        "for each that this machine lacks, why and what to do; and whether nvidia-smi and "
        "rocm-smi say the same of the boards as the libraries that WattBench reads. A running "
        "ComfyUI with the pack is asked which functions of its sampling other packs have replaced.",
    )
    parser.add_argument(
        "--server",
        type=host_and_port,
        metavar="HOST:PORT",
        default=SERVER,
        help="the ComfyUI that is asked (default: {}:{})".format(*SERVER),
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help=f"watch each meter for {WATCH_S:g} s: how often its values change, what a read costs",
    )


def run(args: argparse.Namespace) -> int:
    """Print the lists. A lack is no failure: the exit code is 0."""
    from .. import attention
    from ..measure.meters import probe_all
    from ..measure.power_limit import probe_limits
    from ..measure.recording.environment import pack_version
    from ..quant import formats
    from .crosscheck import crosscheck

    offers = probe_all()
    machine, remark = find_machine()
    print(f"WattBench {pack_version()}")
    print(f"Device: {machine.name or machine.kind}{remark}")
    for title, listed in (
        ("Energy meters", offers),
        ("Power limits, for wattbench powercap", probe_limits()),
        ("Attention kernels", attention.offers(machine)),
        ("Weight formats", formats.offers(machine)),
    ):
        print(f"\n{title}")
        print("\n".join(lines(listed)))
    print("\nSampling in a running ComfyUI")
    print("\n".join(lines(replaced_in(*args.server))))
    print("\nThe vendors' tools, as a cross-check")
    print("\n".join(crosscheck()))
    if args.measure:
        print(f"\nEnergy meters, watched for {WATCH_S:g} s each")
        for offer in offers:
            if offer.available and ":FILE" not in offer.name:
                print(f"  {offer.name:22} {watched(offer.name)}", flush=True)
    return 0


def replaced_in(host: str, port: int) -> list[Offer]:
    """What other packs have replaced in the sampling of a running ComfyUI, each with its owner."""
    from ..hosts.remote.client import ComfyClient, ServerUnreachableError

    client = ComfyClient(host, port, SERVER_TIMEOUT_S)
    try:
        replaced = client.get_json("/wattbench/replaced")
    except ServerUnreachableError as error:
        remedy = "start ComfyUI with this pack, or name it: --server HOST:PORT"
        return [Offer(client.address, "ComfyUI's own sampling", False, str(error), remedy)]
    if not isinstance(replaced, list):
        return [Offer(client.address, "ComfyUI's own sampling", False, "it is no ComfyUI")]
    if not replaced:
        return [Offer(client.address, "every function of sampling is ComfyUI's own", True)]
    remedy = "runs say so in `optimizations`; without that pack they are another condition"
    return [
        Offer(name, "ComfyUI's own function", False, f"replaced by {owner}", remedy)
        for name, _, owner in (str(entry).partition(" by ") for entry in replaced)
    ]


def watched(name: str) -> str:
    """What a meter does, in words."""
    from ..measure.meters import DeviceId, MeterReadError, MeterUnavailableError, open_meter
    from ..measure.meters.bounded import ANSWER_S, OPEN_S, within
    from ..measure.meters.refresh import watch_meter

    try:
        meter = within(OPEN_S, lambda: open_meter(name, DeviceId("cpu")))
        figures = watch_meter(meter, WATCH_S)
        within(ANSWER_S, meter.close)
    except (MeterUnavailableError, MeterReadError) as error:
        return str(error)
    channels = (
        ("counter", figures.counter, figures.counter_w),
        ("power", figures.power, figures.power_w),
    )
    return "; ".join(describe(title, found, watts) for title, found, watts in channels if found)


def describe(title: str, figures: ChannelFigures, power_w: float | None) -> str:
    """``counter: 124.1 W, new every 100 ms (93 to 105), 4.8 ms a read``."""
    watts = "no change seen" if power_w is None else f"{power_w:.4g} W"
    read = f"{figures.read_s * 1e3:.3g} ms a read"
    if figures.refresh_s is None:
        return f"{title}: {watts}, {read}"
    span = (figures.refresh_s, figures.refresh_low_s or 0.0, figures.refresh_high_s or 0.0)
    middle, low, high = (f"{seconds * 1e3:.0f}" for seconds in span)
    return f"{title}: {watts}, new every {middle} ms ({low} to {high}), {read}"


def find_machine() -> tuple[Machine, str]:
    """The device that torch would compute on, and what there is to remark on it."""
    try:
        import torch
    except ImportError:
        return Machine("cpu", ""), " (torch is not installed in this Python: ComfyUI's has it)"
    if not torch.cuda.is_available():
        return Machine("cpu", ""), f" (torch sees no CUDA or ROCm device{_why_none(torch)})"
    machine = machine_of(torch.device("cuda", 0))
    if machine.capability is None:
        return machine, f" ({machine.gfx}, ROCm {torch.version.hip})"
    major, minor = machine.capability
    return machine, f" (compute capability {major}.{minor}, CUDA {torch.version.cuda})"


def _why_none(torch: ModuleType) -> str:
    """What may hide the cards of this machine from torch."""
    if torch.version.cuda is None and torch.version.hip is None:
        return ": this torch is built without CUDA and ROCm"
    masks = [f"{name} is {os.environ[name]!r}" for name in MASKS if name in os.environ]
    return f": {', '.join(masks)}" if masks else ""


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
