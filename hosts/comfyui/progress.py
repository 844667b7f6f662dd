"""Following a prompt from node to node, by the extension points that ComfyUI offers.

A ``ProgressHandler`` is told when a node starts and when it has its result; its registry is made
anew for each prompt, so nothing has to be remembered between prompts. The prompt is over when the
``asyncio`` task that executes it is done. A ``CacheProvider`` is told when a prompt starts; while
there is one, ComfyUI computes a hash of every node's cache key, which takes seconds for a long
chain of nodes, so none is registered while a prompt runs.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable
from typing import Any, Protocol

from comfy_execution.cache_provider import (
    CacheContext,
    CacheProvider,
    CacheValue,
    register_cache_provider,
    unregister_cache_provider,
)
from comfy_execution.graph import DynamicPrompt, get_input_info
from comfy_execution.graph_utils import is_link
from comfy_execution.progress import (
    NodeState,
    ProgressHandler,
    add_progress_handler,
    get_progress_state,
)
from server import PromptServer

from ...measure.graph.costs import GraphNode

NAME = "wattbench"


class Follower(Protocol):
    """What is told of one prompt, in the thread that executes it."""

    shown: dict[str, Any]
    """What the page is shown of the prompt; empty until it is over."""

    def started(self, node_id: str) -> None:
        """Before a node's inputs are fetched; again where it had to wait for lazy inputs."""

    def finished(self, node_id: str) -> None:
        """A node's outputs are there; without a start they came from the cache."""

    def missed(self, node_id: str) -> None:
        """A node had its outputs before anything was told."""

    def ended(self, prompt_id: str, nodes: list[GraphNode]) -> None:
        """The prompt is over, well or not; ``nodes`` are all that it had in the end."""


def follow_prompt(
    make: Callable[[], Follower], task: asyncio.Task[Any] | None = None, name: str = NAME
) -> Follower:
    """The follower of the prompt that this thread executes; it is made if need be.

    Args:
        make: makes the follower.
        task: executes the prompt; ``None`` for the current one.
        name: of the follower; there may be one of each name.
    """
    registry = get_progress_state()
    known = follower_of(name)
    if known is not None:
        return known
    task = task or asyncio.current_task()
    if task is None:
        raise RuntimeError("no prompt is being executed here")
    follower = make()
    for node_id, entry in registry.nodes.items():
        if entry["state"] is NodeState.Finished:
            follower.missed(node_id)
        elif entry["state"] is NodeState.Running:
            follower.started(node_id)
    add_progress_handler(_Handler(follower, name))
    task.add_done_callback(
        lambda _: follower.ended(registry.prompt_id, graph_nodes(registry.dynprompt))
    )
    return follower


def follower_of(name: str) -> Follower | None:
    """The follower of that name of the prompt that this thread executes; ``None`` without one."""
    known = get_progress_state().handlers.get(name)
    return known.follower if isinstance(known, _Handler) else None


def send(event: str, content: dict[str, Any]) -> None:
    """Tell the page that queued the running prompt; nobody where there was none."""
    server = getattr(PromptServer, "instance", None)
    if server is not None and server.client_id is not None:
        server.send_sync(event, content, server.client_id)


def workflow_id(prompt_id: str) -> str | None:
    """The id of the workflow that a running prompt was queued from; ``None`` where it has none."""
    queue = getattr(getattr(PromptServer, "instance", None), "prompt_queue", None)
    for item in [] if queue is None else list(queue.currently_running.values()):
        if item[1] == prompt_id:
            workflow = (item[3].get("extra_pnginfo") or {}).get("workflow") or {}
            return workflow.get("id")
    return None


class _Handler(ProgressHandler):
    def __init__(self, follower: Follower, name: str) -> None:
        super().__init__(name)
        self.follower = follower

    def start_handler(self, node_id: str, state: Any, prompt_id: str) -> None:
        self.follower.started(node_id)

    def finish_handler(self, node_id: str, state: Any, prompt_id: str) -> None:
        self.follower.finished(node_id)


class EveryPrompt(CacheProvider):
    """While switched on, every prompt is followed; while off, ComfyUI does not know of it.

    It caches nothing: it is a provider for the sake of :meth:`on_prompt_start`.
    """

    def __init__(self, make: Callable[[], Follower], name: str = NAME) -> None:
        self._make, self._name = make, name
        self._lock = threading.Lock()
        self._is_on = self._is_prompt_running = self._is_registered = False

    def switch(self, is_on: bool) -> None:
        """From the next prompt on; called from any thread."""
        with self._lock:
            self._is_on = is_on
            self._register()

    def on_prompt_start(self, prompt_id: str) -> None:
        """ComfyUI makes the registry of this prompt right after this, before it first waits."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("ComfyUI executes this prompt outside of an asyncio task")
        self._set_prompt_running(True)
        task.add_done_callback(lambda _: self._set_prompt_running(False))
        asyncio.get_running_loop().call_soon(follow_prompt, self._make, task, self._name)

    def should_cache(self, context: CacheContext, value: CacheValue | None = None) -> bool:
        return False

    async def on_lookup(self, context: CacheContext) -> None:
        return None

    async def on_store(self, context: CacheContext, value: CacheValue) -> None:
        pass

    def _set_prompt_running(self, is_running: bool) -> None:
        with self._lock:
            self._is_prompt_running = is_running
            self._register()

    def _register(self) -> None:
        is_wanted = self._is_on and not self._is_prompt_running
        if is_wanted != self._is_registered:
            self._is_registered = is_wanted
            (register_cache_provider if is_wanted else unregister_cache_provider)(self)


def graph_nodes(prompt: DynamicPrompt) -> list[GraphNode]:
    """All nodes of a prompt, with those that were made while it ran.

    A node of a subgraph has the id ``subgraph node:node``.
    """
    classes = importlib.import_module("nodes").NODE_CLASS_MAPPINGS
    nodes = []
    for node_id in sorted(prompt.all_node_ids()):
        node = prompt.get_node(node_id)
        sources, lazy_sources = _sources(classes[node["class_type"]], node["inputs"])
        nodes.append(
            GraphNode(
                node_id=node_id,
                class_type=node["class_type"],
                title=node.get("_meta", {}).get("title", ""),
                parent_id=prompt.get_parent_node_id(node_id) or node_id.rpartition(":")[0],
                display_id=prompt.get_display_node_id(node_id),
                sources=sources,
                lazy_sources=lazy_sources,
            )
        )
    return nodes


def _sources(kind: Any, inputs: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The nodes that inputs come from, and those of inputs that are fetched only on demand."""
    links = {name: value[0] for name, value in inputs.items() if is_link(value)}
    known = kind.INPUT_TYPES() if links else {}
    lazy = {name for name in links if (get_input_info(kind, name, known)[2] or {}).get("lazy")}
    return (
        tuple(source for name, source in links.items() if name not in lazy),
        tuple(source for name, source in links.items() if name in lazy),
    )
