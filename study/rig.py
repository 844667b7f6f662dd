"""Where a study measures: servers of our own, or one that is running already."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..errors import CancelledError
from ..hosts.remote.batch import JOURNAL_FILE, JOURNAL_FOLDER, read_runs
from ..hosts.remote.client import ComfyClient
from ..hosts.remote.comfy_run import run_workflow, to_api_format
from ..hosts.remote.definitions import Definitions, definitions_of
from ..hosts.remote.graph import Graph
from ..hosts.remote.pictures import fetch_pictures
from ..hosts.remote.server import ComfyServer
from .canvas import is_canvas, put_on_canvas
from .levels import Offers
from .measured import Instrumented, Prompt, instrumented, measures_itself, prompt_of
from .search import Settings
from .wiring import WIRES, ends_of, nodes_of, put_in

LEVERS_ROUTE, ENVIRONMENT_ROUTE = "/wattbench/levers", "/wattbench/environment"
"""As :mod:`..hosts.comfyui.levers_route` serves them."""


class Bench(Protocol):
    """A place where prompts can be measured, for as long as it is open."""

    @property
    def definitions(self) -> Definitions: ...

    def levers(self) -> Offers:
        """The levers of the machine, each with its levels as offers."""
        ...

    def environment(self) -> dict[str, Any]:
        """The fields of :class:`..records.Environment` of the machine, but for its power limit."""
        ...

    def api_graph(self, workflow: Any) -> Graph:
        """A workflow (either format) in API format, by the server's own nodes."""
        ...

    def api_graph_of(self, file: Path) -> Graph:
        """As :meth:`api_graph`, of a file.

        Raises:
            CommandError: the server lacks one of its nodes.
        """
        ...

    def with_levers(self, graph: Graph, settings: Settings) -> Graph:
        """A graph with levels of levers.

        Raises:
            ValueError: it has no place for one of them.
        """
        ...

    def instrumented(self, graph: Graph) -> Instrumented:
        """A graph that measures itself as it is, another with instruments.

        Raises:
            ValueError: it makes nothing that could be measured.
        """
        ...

    def watched(self, graph: Graph) -> Instrumented:
        """A graph of every day with what tells its cost as a whole.

        Raises:
            ValueError: it makes nothing that could be measured, or measures itself.
        """
        ...

    def with_settings(
        self, workflow: Mapping[str, Any], graph: Graph, settings: Settings
    ) -> dict[str, Any]:
        """A workflow with levels of levers, in the format it came in; also once this is closed.

        Args:
            graph: of the workflow as it is.

        Raises:
            ValueError: it has no place for one of them.
        """
        ...

    def graph_with(
        self, workflow: Mapping[str, Any], graph: Graph | None, settings: Settings
    ) -> Graph:
        """What runs for a workflow with levels of levers; without a graph, for it as it is."""
        ...

    @property
    def counted(self) -> frozenset[str]:
        """The operations of which every call is counted."""
        ...

    def measure(self, instrumented: Instrumented, name: str) -> Prompt:
        """Run one prompt; a failure is in :attr:`Prompt.error`. ``name`` is for its pictures."""
        ...


class Rig(Protocol):
    """Opens benches. ``is_fresh`` says whether each has a process of its own, without a cache."""

    is_fresh: ClassVar[bool]

    def open(self, launch: Sequence[str], name: str) -> contextlib.AbstractContextManager[Bench]:
        """A bench with these launch options; ``name`` is for its log."""
        ...


class Wired:
    """What is put into ComfyUI's graphs, by the definitions of its nodes."""

    definitions: Definitions
    counted: ClassVar[frozenset[str]] = frozenset({"attention", "linear"})

    if TYPE_CHECKING:

        def api_graph(self, workflow: Any) -> Graph: ...

    def watched(self, graph: Graph) -> Instrumented:
        return instrumented(graph, self.definitions)

    def with_settings(
        self, workflow: Mapping[str, Any], graph: Graph, settings: Settings
    ) -> dict[str, Any]:
        nodes = nodes_of(settings, self.definitions)
        if not is_canvas(workflow):
            return put_in(dict(workflow), nodes, self.definitions)
        targets = [
            (wire, target)
            for wire in WIRES.values()
            for ends in ends_of(graph, wire, self.definitions).values()
            for target in ends
        ]
        return put_on_canvas(dict(workflow), nodes, targets, self.definitions)

    def graph_with(
        self, workflow: Mapping[str, Any], graph: Graph | None, settings: Settings
    ) -> Graph:
        """A page's workflow is changed on the page and then converted."""
        changed = dict(workflow) if graph is None else self.with_settings(workflow, graph, settings)
        return self.api_graph(changed) if is_canvas(changed) else changed

    def with_levers(self, graph: Graph, settings: Settings) -> Graph:
        return put_in(graph, nodes_of(settings, self.definitions), self.definitions)

    def instrumented(self, graph: Graph) -> Instrumented:
        own = measures_itself(graph)
        return Instrumented(graph, "") if own else instrumented(graph, self.definitions)


@dataclass(frozen=True)
class ServerBench(Wired):
    """A ComfyUI server; ``server`` is ``None`` where it is not ours."""

    client: ComfyClient
    server: ComfyServer | None
    definitions: Definitions
    pictures: Path
    deadline_s: int
    follow: Callable[[dict[str, Any]], None]
    prompt_limit_s: float | None = None

    def levers(self) -> Offers:
        return dict(self.client.get_json(LEVERS_ROUTE))

    def environment(self) -> dict[str, Any]:
        return dict(self.client.get_json(ENVIRONMENT_ROUTE))

    def api_graph(self, workflow: Any) -> Graph:
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, "workflow.json")
            file.write_text(json.dumps(workflow), "utf-8")
            return to_api_format(self.client, file)

    def api_graph_of(self, file: Path) -> Graph:
        return to_api_format(self.client, file)

    def measure(self, instrumented: Instrumented, name: str) -> Prompt:
        offset = self.client.output_size(JOURNAL_FILE, JOURNAL_FOLDER)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, "workflow.json")
            file.write_text(json.dumps(instrumented.graph), "utf-8")
            job = run_workflow(self.client, file, self.deadline_s, self.follow, self.prompt_limit_s)
        if job.was_cancelled:
            raise CancelledError(f"on the server at {self.client.address}")
        if self.server is not None and not self.server.is_running():
            error = f"ComfyUI died: {job.error or 'see ' + self.server.log_path.name}"
            return Prompt(error=error, is_dead=True)
        if job.was_late:
            return Prompt(error=job.error)
        runs = [
            run
            for run in read_runs(self.client, self.server, offset)
            if run.job_id == job.prompt_id
        ]
        if job.error:
            return Prompt(runs=tuple(runs), error=job.error)
        is_watched = bool(instrumented.watch_id)
        history = self._history(str(job.prompt_id)) if is_watched else {}
        found = prompt_of(history, instrumented.watch_id, runs)
        pictures = fetch_pictures(self.client, job, self.pictures, name)
        return replace(found, pictures=tuple(pictures))

    def _history(self, prompt_id: str) -> dict[str, Any]:
        """ComfyUI writes it a moment after it tells of the end; nothing where it never does."""
        for _ in range(HISTORY_TRIES):
            history = self.client.get_json(f"/history/{prompt_id}").get(prompt_id)
            if history is not None and any(history.get("outputs", {}).values()):
                return dict(history)
            time.sleep(HISTORY_PAUSE_S)
        return {}


HISTORY_TRIES, HISTORY_PAUSE_S = 50, 0.1


@dataclass(frozen=True)
class ServerRig:
    """Fresh servers of our own.

    Args:
        arguments: launch options of every server.
        environment: variables of every server, on top of ours.
        follow: gets every event of a prompt that runs.
        prompt_limit_s: longest time that a prompt may take.
        say: is told every few seconds of a server's start what it is at.
    """

    comfyui: Path
    arguments: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    deadline_s: int
    follow: Callable[[dict[str, Any]], None] = lambda event: None
    prompt_limit_s: float | None = None
    say: Callable[[str], None] = lambda text: None
    is_fresh: ClassVar[bool] = True

    @contextlib.contextmanager
    def open(self, launch: Sequence[str], name: str) -> Iterator[ServerBench]:
        """A server with ``launch`` on top of the rig's own arguments.

        Raises:
            ServerError: it does not start.
        """
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        server = ComfyServer(
            self.comfyui,
            environment=self.environment,
            arguments=(*self.arguments, *launch),
            log_path=logs / f"{name}.log",
            say=self.say,
        )
        with server:
            bench = _bench(server.client, server, self.folder, self.deadline_s, self.follow)
            yield replace(bench, prompt_limit_s=self.prompt_limit_s)


@dataclass(frozen=True)
class RunningRig:
    """One server that runs already: it has one set of launch options, and is never fresh."""

    client: ComfyClient
    folder: Path
    deadline_s: int
    follow: Callable[[dict[str, Any]], None] = lambda event: None
    is_fresh: ClassVar[bool] = False

    @contextlib.contextmanager
    def open(self, launch: Sequence[str], name: str) -> Iterator[ServerBench]:
        """The running server, as it is.

        Raises:
            ValueError: other launch options are asked for.
        """
        if launch:
            raise ValueError("a running server keeps its launch options")
        yield _bench(self.client, None, self.folder, self.deadline_s, self.follow)


def _bench(
    client: ComfyClient,
    server: ComfyServer | None,
    folder: Path,
    deadline_s: int,
    follow: Callable[[dict[str, Any]], None],
) -> ServerBench:
    definitions = definitions_of(client.get_json("/object_info"))
    return ServerBench(client, server, definitions, folder / "pictures", deadline_s, follow)
