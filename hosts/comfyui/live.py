"""What the page's HUD is told over its websocket, ComfyUI's devices, and the prompt that runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import comfy.model_management as management
import torch
from aiohttp import web
from server import PromptServer

from ...measure.live.device import LiveDevice, LiveTarget, open_devices
from ...measure.live.monitor import INTERVAL_RANGE_S, LiveMonitor, LiveState
from ...measure.recording.environment import identify
from ...measure.recording.memory import gauges_for
from .requests import json_body

ROUTE = "/wattbench/live"
EVENT = "wattbench_live"
WANTED = 'send {"watcher": "a name", "interval_s": 1}'
LONGEST_NAME = 100


def add_live_route() -> None:
    """Serve ``POST /wattbench/live`` for as long as ComfyUI runs; nothing is read until it is used.

    The body is ``{"watcher": str, "interval_s": number}``, to be sent every interval, or
    ``{"watcher": str, "leave": true}`` at the end. The answer is a :class:`LiveState` as JSON, or
    ``null`` as long as there is no reading; a body that is neither is answered with status 400.
    A page sends it once, with the id of its websocket as ``"push"``: as long as that is open, every
    reading comes through it as the event ``wattbench_live``.
    Where ComfyUI runs without a server there is nobody to serve.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    sockets: dict[str, str] = {}

    def push(watcher: str, state: LiveState) -> None:
        socket = sockets.get(watcher)
        if socket is not None:
            server.send_sync(EVENT, asdict(state), socket)

    monitor = LiveMonitor(_open_devices, running_prompt_id, push)

    async def answer(request: web.Request) -> web.Response:
        start_s = time.thread_time()
        body = await json_body(request, WANTED)
        watcher, interval_s = _parse(body)
        socket = body.get("push")
        if interval_s is None:
            monitor.leave(watcher)
            sockets.pop(watcher, None)
            return web.json_response(None)
        is_there = None
        if isinstance(socket, str) and socket in server.sockets:
            for gone in [name for name, other in sockets.items() if other not in server.sockets]:
                del sockets[gone]
            sockets[watcher] = socket
            is_there = partial(server.sockets.__contains__, socket)
        state = monitor.watch(watcher, interval_s, is_there)
        response = web.json_response(None if state is None else asdict(state))
        monitor.charge(time.thread_time() - start_s)
        return response

    server.routes.post(ROUTE)(answer)


def running_prompt_id() -> str | None:
    """The prompt that ComfyUI executes now, or ``None``."""
    running = list(PromptServer.instance.prompt_queue.currently_running.values())
    return str(running[0][1]) if running else None


def _parse(body: dict[str, Any]) -> tuple[str, float | None]:
    """The watcher and its interval in seconds, ``None`` where it leaves.

    Raises:
        HTTPBadRequest: the body is not as the route wants it.
    """
    watcher, interval_s = body.get("watcher"), body.get("interval_s")
    if isinstance(watcher, str) and len(watcher) <= LONGEST_NAME:
        if body.get("leave") is True:
            return watcher, None
        is_number = isinstance(interval_s, (int, float)) and not isinstance(interval_s, bool)
        if interval_s is not None and is_number and interval_s > 0:
            return watcher, float(min(interval_s, INTERVAL_RANGE_S[1]))
    raise web.HTTPBadRequest(text=WANTED)


def _open_devices() -> Sequence[LiveDevice]:
    main = management.get_torch_device()
    return open_devices([_target(device, device == main) for device in _torch_devices(main)])


def _torch_devices(main: torch.device) -> list[torch.device]:
    """All devices of the kind that ComfyUI computes on, that one first."""
    if main.type not in ("cuda", "xpu"):
        return [main]
    count = getattr(torch, main.type).device_count()
    every = [torch.device(main.type, index) for index in range(count)]
    return sorted(every, key=lambda device: device != main)


def _target(device: torch.device, is_main: bool) -> LiveTarget:
    """Only the main device's memory is asked of torch: asking another would take memory of it."""
    gauges = gauges_for(device)
    total_bytes = None
    if device.type in ("cuda", "xpu"):
        total_bytes = getattr(torch, device.type).get_device_properties(device).total_memory
    return LiveTarget(
        device=identify(device),
        vram_total_bytes=total_bytes,
        read_vram_bytes=gauges.read_vram_bytes if is_main else None,
        vram_note=gauges.vram_note,
    )
