"""The history of what prompts cost, kept by itself while a page has asked for that."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import comfy.model_management as management
import folder_paths
from aiohttp import web
from comfy_execution.progress import get_progress_state
from server import PromptServer

from ...measure.graph.costs import GraphNode, graph_cost
from ...measure.graph.history import (
    MOST_PROMPTS,
    Entries,
    History,
    HistoryTakenError,
    entry_of,
    read_history,
)
from ...measure.graph.light import LightRecorder
from ...measure.graph.log import NodeLog
from ...measure.meters import open_meter
from ...measure.recording.environment import identify
from ...measure.recording.memory import gauges_for
from ...measure.recording.timeline import HostTimeline, timeline_for
from .fallbacks import taken_fallbacks
from .progress import EveryPrompt, workflow_id
from .requests import json_body

ROUTE = "/wattbench/history"
PAGE_ROUTE = "/wattbench/history/page"
EVENT = "wattbench_history"
"""What every page is told when a prompt was added."""

NAME = "wattbench_history"
WANTED = f'send {{"most": 100}}, 0 to {MOST_PROMPTS} (0 keeps none), or {{"clear": true}}'
SHOWN = 20
"""So many prompts are answered where no other number is asked for."""

OWN = "a node of this prompt measures it: its energies are among the runs"

Page = Callable[[Entries, str], str]


class Loads:
    """What came into device memory and left it, seen by comparing before and after each node."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, str, int]] = []
        """Node, mark, model and bytes: below 0 where they left."""
        self._before = _loaded()

    def look(self, node_id: str, mark: Any) -> None:
        """At a border: what changed since the last one is ``node_id``'s."""
        now = _loaded()
        for key in [*self._before, *(key for key in now if key not in self._before)]:
            name, size = now.get(key, (self._before.get(key, ("", 0))[0], 0))
            change = size - self._before.get(key, ("", 0))[1]
            if change:
                self.seen.append((node_id, mark, name, change))
        self._before = now


def _loaded() -> dict[int, tuple[str, int]]:
    """Models on a device by identity: their kind, and how many bytes of them are there."""
    models = [(loaded, loaded.model) for loaded in list(management.current_loaded_models)]
    return {
        id(patcher.model): (type(patcher.model).__name__, int(patcher.loaded_size()))
        for _, patcher in models
        if patcher is not None
    }


class PromptRecord:
    """Follows one prompt, and gives what it cost to ``keep``."""

    def __init__(
        self,
        recorder: LightRecorder,
        keep: Callable[[dict[str, Any]], None],
        measuring: Collection[str],
    ) -> None:
        self.shown: dict[str, Any] = {}
        self._recorder, self._keep = recorder, keep
        self._log, self._loads = NodeLog(), Loads()
        prompt = get_progress_state().dynprompt
        kinds = {prompt.get_node(node_id)["class_type"] for node_id in prompt.all_node_ids()}
        recorder.begin(OWN if kinds & set(measuring) else "")

    def started(self, node_id: str) -> None:
        self._log.start(node_id, self._recorder.mark())

    def finished(self, node_id: str) -> None:
        mark = self._recorder.mark()
        self._loads.look(node_id, mark)
        self._log.finish(node_id, mark)

    def missed(self, node_id: str) -> None:
        self._log.missed.add(node_id)

    def ended(self, prompt_id: str, nodes: list[GraphNode]) -> None:
        recording, error_j = self._recorder.end(self._log.pieces)
        if self._log.unfinished:
            self._loads.look(self._log.unfinished[-1], self._recorder.mark())
        device = identify(management.get_torch_device())
        cost = graph_cost(prompt_id, device.name or device.kind, recording, self._log, nodes)
        loads = [
            {
                "node_id": node_id,
                "t_s": min(self._recorder.seconds(mark) - recording.start_s, cost.time_s),
                "model": model,
                "bytes": change,
            }
            for node_id, mark, model, change in self._loads.seen
        ]
        fallbacks = taken_fallbacks(prompt_id)
        self._keep(entry_of(cost, workflow_id(prompt_id), error_j, loads, fallbacks))


class Keeper:
    """The history of this server: whether it is kept, how many prompts of it, and why not."""

    def __init__(self, path: Path, measuring: Collection[str]) -> None:
        self.path = path
        self.most = 0
        self.note = ""
        self._measuring = measuring
        self._recorder: LightRecorder | None = None
        self._open = ExitStack()
        self._every = EveryPrompt(self._follow, NAME)

    def switch(self, most: int) -> None:
        """Keep so many prompts from the next one on; with 0 nothing is registered with ComfyUI."""
        self.note = ""
        if most and not self.most:
            try:
                self._open.enter_context(History(self.path))
            except (HistoryTakenError, OSError) as error:
                self.note, most = str(error), 0
        if self.most and not most:
            self._open.close()
            if self._recorder is not None:
                self._recorder.close()
        self.most = most
        self._every.switch(most > 0)

    def clear(self) -> None:
        """Forget all that was kept.

        Raises:
            OSError: the file cannot be written.
        """
        History(self.path).clear()

    def _follow(self) -> PromptRecord:
        if self._recorder is None:
            self._recorder = _recorder()
        return PromptRecord(self._recorder, self._keep, self._measuring)

    def _keep(self, entry: dict[str, Any]) -> None:
        if not self.most:
            return
        try:
            History(self.path).append(entry, self.most)
            self.note = ""
        except OSError as error:
            self.note = f"the history cannot be written: {error}"
            logging.warning("WattBench: %s", self.note)
        server = getattr(PromptServer, "instance", None)
        if server is not None:
            server.send_sync(EVENT, {"prompt_id": entry["prompt_id"]})


def _recorder() -> LightRecorder:
    device = management.get_torch_device()
    gauges = gauges_for(device)
    has_events = device.type in ("cuda", "xpu")
    return LightRecorder(
        lambda: open_meter("auto", identify(device)),
        timeline_for(device) if has_events else HostTimeline(),
        gauges.read_vram_bytes,
        gauges.vram_note,
    )


def add_history_route(page: Page, measuring: Collection[str]) -> None:
    """Serve the history for as long as ComfyUI runs; nothing is kept before a page asks for it.

    ``GET /wattbench/history?most=20`` answers ``{"most", "note", "damaged", "prompts"}``, newest
    first; ``POST`` takes ``{"most": 0 to 1000}`` or ``{"clear": true}`` and answers the same;
    ``GET /wattbench/history/page?language=en`` is the page that ``page`` makes. Where ComfyUI runs
    without a server there is nobody to serve.

    Args:
        measuring: the types of nodes that measure by themselves.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    path = Path(folder_paths.get_user_directory()) / "wattbench" / "history.jsonl"
    keeper = Keeper(path, measuring)

    async def told(most: int) -> web.Response:
        entries = await asyncio.to_thread(read_history, path, most)
        return web.json_response(
            {
                "most": keeper.most,
                "note": keeper.note,
                "damaged": entries.damaged_count,
                "prompts": entries.prompts[::-1],
            }
        )

    async def answer(request: web.Request) -> web.Response:
        asked = request.query.get("most", f"{SHOWN}")
        if not re.fullmatch("[0-9]{1,4}", asked) or not 0 < int(asked) <= MOST_PROMPTS:
            raise web.HTTPBadRequest(text=f"most is a number from 1 to {MOST_PROMPTS}")
        return await told(int(asked))

    async def change(request: web.Request) -> web.Response:
        body = await json_body(request, WANTED)
        most = body.get("most")
        if body.get("clear") is True:
            await asyncio.to_thread(keeper.clear)
        elif isinstance(most, int) and not isinstance(most, bool) and 0 <= most <= MOST_PROMPTS:
            await asyncio.to_thread(keeper.switch, most)
        else:
            raise web.HTTPBadRequest(text=WANTED)
        return await told(SHOWN)

    async def show(request: web.Request) -> web.Response:
        language = request.query.get("language", "en")
        try:
            entries = await asyncio.to_thread(read_history, path)
            text = await asyncio.to_thread(page, entries, language)
        except RuntimeError as error:
            raise web.HTTPNotImplemented(text=str(error)) from error
        return web.Response(text=text, content_type="text/html")

    server.routes.get(ROUTE)(answer)
    server.routes.post(ROUTE)(change)
    server.routes.get(PAGE_ROUTE)(show)
