"""Following a prompt from node to node, by the extension points that ComfyUI offers.

ComfyUI tells a ``ProgressHandler`` when a node starts and when it has its result, and a
``CacheProvider`` when a prompt starts and ends. Handlers belong to a registry that is made anew
for each prompt, so nothing has to be remembered between prompts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from comfy.cli_args import args
from comfy_execution.cache_provider import (
    CacheContext,
    CacheProvider,
    CacheValue,
    register_cache_provider,
    unregister_cache_provider,
)
from comfy_execution.graph import DynamicPrompt
from comfy_execution.graph_utils import is_link
from comfy_execution.progress import (
    NodeState,
    ProgressHandler,
    ProgressRegistry,
    add_progress_handler,
    get_progress_state,
)
from server import PromptServer

from ...measure.node_costs import GraphNode

NAME = "wattbench"


class Follower(Protocol):
    """What is told of one prompt, in the thread that executes it."""

    def started(self, node_id: str) -> None:
        """Before a node's inputs are fetched; again where it had to wait for lazy inputs."""

    def finished(self, node_id: str) -> None:
        """A node's outputs are there; without a start they came from the cache."""

    def missed(self, node_id: str) -> None:
        """A node had its outputs before anything was told."""

    def ended(self, prompt_id: str, nodes: list[GraphNode]) -> None:
        """The prompt is over, well or not; ``nodes`` are all that it had in the end."""


def follow_prompt(make: Callable[[], Follower]) -> Follower:
    """The follower of the prompt that this thread executes; it is made if need be."""
    registry = get_progress_state()
    known = registry.handlers.get(NAME)
    if isinstance(known, _Handler):
        return known.follower
    handler = _Handler(make())
    for node_id, entry in registry.nodes.items():
        if entry["state"] is NodeState.Finished:
            handler.follower.missed(node_id)
        elif entry["state"] is NodeState.Running:
            handler.follower.started(node_id)
    add_progress_handler(handler)
    register_cache_provider(_End(registry, handler.follower))
    return handler.follower


def send(event: str, content: dict[str, Any]) -> None:
    """Tell the page that queued the running prompt; nobody where there was none."""
    server = getattr(PromptServer, "instance", None)
    if server is not None and server.client_id is not None:
        server.send_sync(event, content, server.client_id)


class _Handler(ProgressHandler):
    def __init__(self, follower: Follower) -> None:
        super().__init__(NAME)
        self.follower = follower

    def start_handler(self, node_id: str, state: Any, prompt_id: str) -> None:
        self.follower.started(node_id)

    def finish_handler(self, node_id: str, state: Any, prompt_id: str) -> None:
        self.follower.finished(node_id)


class _NoCache(CacheProvider):
    """A provider for the sake of its prompt events: it caches nothing."""

    def should_cache(self, context: CacheContext, value: CacheValue | None = None) -> bool:
        return False

    async def on_lookup(self, context: CacheContext) -> None:
        return None

    async def on_store(self, context: CacheContext, value: CacheValue) -> None:
        pass


class _End(_NoCache):
    """Waits for the end of one prompt, and notes what ComfyUI looks for in its cache in vain."""

    def __init__(self, registry: ProgressRegistry, follower: Follower) -> None:
        self._registry = registry
        self._follower = follower
        self._absent: set[str] = set()

    def should_cache(self, context: CacheContext, value: CacheValue | None = None) -> bool:
        if value is None:
            self._absent.add(context.node_id)
        return False

    def on_prompt_end(self, prompt_id: str) -> None:
        if prompt_id == self._registry.prompt_id:
            unregister_cache_provider(self)
            nodes = graph_nodes(self._registry.dynprompt, self._absent)
            self._follower.ended(prompt_id, nodes)


class EveryPrompt(_NoCache):
    """While switched on, every prompt is followed; while off, ComfyUI does not know of it."""

    def __init__(self, make: Callable[[], Follower]) -> None:
        self._make = make
        self._is_on = False

    def switch(self, is_on: bool) -> None:
        if is_on != self._is_on:
            self._is_on = is_on
            (register_cache_provider if is_on else unregister_cache_provider)(self)

    def on_prompt_start(self, prompt_id: str) -> None:
        """ComfyUI makes the registry of this prompt right after this, before it first waits."""
        asyncio.get_running_loop().call_soon(follow_prompt, self._make)


def graph_nodes(prompt: DynamicPrompt, absent: set[str]) -> list[GraphNode]:
    """All nodes of a prompt, with those that were made while it ran; ``absent`` from the cache.

    A node of a subgraph has the id ``subgraph node:node``.
    """
    nodes = []
    for node_id in sorted(prompt.all_node_ids()):
        node = prompt.get_node(node_id)
        parent_id = prompt.get_parent_node_id(node_id) or node_id.rpartition(":")[0]
        nodes.append(
            GraphNode(
                node_id=node_id,
                class_type=node["class_type"],
                title=node.get("_meta", {}).get("title", ""),
                parent_id=parent_id,
                display_id=prompt.get_display_node_id(node_id),
                sources=tuple(value[0] for value in node["inputs"].values() if is_link(value)),
                is_absent_from_cache=args.cache_none or node_id in absent,
            )
        )
    return nodes
