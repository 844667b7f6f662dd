"""The route that says which levers this machine has, computed where the device is open anyway."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aiohttp import web
from comfy.cli_args import args as launch
from comfy.cli_args import parser
from server import PromptServer

from ...attention import BACKENDS
from ...attention import offers as attention_offers
from ...measure.recording.environment import capture, identify
from ...offer import Machine, Offer, machine_of
from ...quant.formats import FORMATS
from .compile import MODES, OWN_ALLOCATOR, compile_offer
from .static_vram import is_dynamic_vram
from .workspace import HOST

ROUTE, ENVIRONMENT_ROUTE = "/wattbench/levers", "/wattbench/environment"

FASTER_LAUNCHES = ("--disable-dynamic-vram", "--fast")
"""Launch options that made a server faster on some card; what each does is ComfyUI's own help."""


def add_levers_route() -> None:
    """Serve ``GET /wattbench/levers``: for each lever its levels as :class:`Offer` in JSON.

    A level of ``weights`` also has ``native``: whether products are computed in its own format. One
    of ``compile`` has ``needs``, a launch option that this server lacks for it, or an empty text.
    ``GET /wattbench/environment`` has the fields of :class:`...records.Environment`.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(levers())

    async def tell_environment(request: web.Request) -> web.Response:
        device = identify(HOST.device())
        return web.json_response(asdict(capture(device, None, HOST.name, HOST.version)))

    server.routes.get(ROUTE)(answer)
    server.routes.get(ENVIRONMENT_ROUTE)(tell_environment)


def levers() -> dict[str, list[dict[str, Any]]]:
    """What ``GET /wattbench/levers`` answers."""
    device = HOST.device()
    machine = machine_of(device)
    return {
        "launch": [asdict(offer) for offer in _launches(machine)],
        "weights": [
            {**asdict(weight_format.offer(machine)), "native": _is_native(weight_format, machine)}
            for weight_format in FORMATS
            if weight_format.name != "gguf"
        ],
        "static_vram": [asdict(_static_vram())],
        "memory_format": [asdict(Offer("channels_last", "NHWC for convolutions", True))],
        "noise_levels": [asdict(_host_levels(device))],
        "attention": [asdict(offer) for offer in attention_offers(machine)],
        "compile": [_compiling(device, mode) for mode in MODES],
        "vae_attention": [
            asdict(backend.offer(machine)) for backend in BACKENDS if backend.name == "sdpa"
        ],
    }


def _host_levels(device: Any) -> Offer:
    reason = "the device is the host" if device.type == "cpu" else ""
    return Offer("host", "a copy of the noise levels on the host", not reason, reason)


def _static_vram() -> Offer:
    reason = "" if is_dynamic_vram() else "dynamic VRAM is not in force"
    return Offer("on", "weights in memory before the model runs", not reason, reason)


def _compiling(device: Any, mode: str) -> dict[str, Any]:
    plain, in_mode = compile_offer(device), compile_offer(device, mode)
    needs = OWN_ALLOCATOR if plain.available and not in_mode.available else ""
    offer = Offer(mode, "torch.compile", plain.available, plain.reason, plain.remedy)
    return {**asdict(offer), "needs": needs}


def _is_native(weight_format: Any, machine: Machine) -> bool:
    return bool(weight_format.execution(machine).kind == "native")


def _launches(machine: Machine) -> list[Offer]:
    """Options that this ComfyUI knows, that are not in force, and that do something here."""
    known = {option for action in parser._actions for option in action.option_strings}
    offers = []
    for option in FASTER_LAUNCHES:
        in_force = getattr(launch, option.removeprefix("--").replace("-", "_"), None)
        reason = ""
        if option not in known:
            reason = "this ComfyUI has no such option"
        elif machine.kind != "cuda":
            reason = f"it changes nothing on {machine.kind}"
        elif in_force:
            reason = "it is in force already"
        offers.append(Offer(option, "a launch option of ComfyUI", not reason, reason))
    return offers
