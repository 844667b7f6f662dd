"""A headless batch: visits of a server, workflows on it, and what they measured.

Nothing is printed here: whoever runs a batch gives it a :class:`Teller`.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ...errors import CancelledError, CommandError, UsageError
from ...incoming import MAX_WORKFLOW_BYTES, IncomingError, read_json
from ...measure.protocol import journal
from ...processes.signals import held
from ...processes.visit import VISIT_VARIABLE
from ...records import Run
from .client import ComfyClient, ServerUnreachableError
from .comfy_run import Event, check_installed, run_workflow, to_api_format
from .definitions import Definitions, definitions_of
from .graph import PACK_PREFIX, Graph, repeated, too_few
from .pictures import MISSING, can_read, fetch_pictures, with_files
from .places import choose_python
from .server import ComfyServer, device_arguments, find_comfyui

JOURNAL_FILE, JOURNAL_FOLDER = "journal.jsonl", "wattbench"
"""Where, below ComfyUI's output folder, the pack's nodes write every run as soon as it ends."""

NOTHING_MEASURED = (
    "the workflow ended well but nothing was measured: no node that measures has run. A running "
    "server answers nodes whose inputs are unchanged from its cache: change a seed, or leave out "
    "--server"
)


class Teller(Protocol):
    """Who tells the user how far a batch is."""

    def say(self, text: str) -> None:
        """One line."""
        ...

    def progress(self, done: int, total: int) -> None:
        """How far the node is that was named last."""
        ...


class Silent:
    """Tells nobody."""

    def say(self, text: str) -> None:
        pass

    def progress(self, done: int, total: int) -> None:
        pass


@dataclass
class Results:
    """What a batch has measured so far.

    Others may measure on the same server, or write to the same journal, meanwhile: the runs are
    those of the batch's own prompts.
    """

    job_ids: set[str] = field(default_factory=set)
    runs: list[Run] = field(default_factory=list)
    by_job: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def pictures(self) -> list[Path]:
        """Files of all pictures, in the order in which they were made."""
        return [picture for pictures in self.by_job.values() for picture in pictures]

    def write(self, folder: Path) -> list[str]:
        """Write the tables and ``report.html``; returns where they lie.

        Raises:
            CommandError: they cannot be written; the runs are still in the journal.
        """
        from ...report import append_runs
        from ...report.html import write_page

        try:
            return [*map(str, append_runs(self.runs, folder)), write_page(folder)]
        except (OSError, ValueError) as error:
            raise CommandError(
                f"the tables cannot be written to {folder}: {error}. The runs are kept in "
                f"{JOURNAL_FOLDER}/{JOURNAL_FILE} in ComfyUI's output folder"
            ) from error

    def told(self, files: Sequence[str]) -> str:
        """The summary, and where the files lie, for people."""
        from ...report import summary_text

        lines = [f"\n{summary_text(self.runs)}\n", *files]
        if self.pictures:
            lines.append(f"{len(self.pictures)} pictures in {self.pictures[0].parent}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Batch:
    """What to run, and where: on ``running``, else on servers of our own, one for each visit.

    ``workflow`` is a file in UI or API format, run ``repeats`` times in each visit, each time with
    another seed; ``None`` runs it once as it is. A run may take ``timeout_s``. ``folder`` gets the
    tables, pictures and logs; ``teller`` tells the user how far it is.
    """

    workflow: Path
    repeats: int | None
    visits: int
    folder: Path
    timeout_s: int
    running: ComfyClient | None
    comfyui: Path | None
    python: Path | None
    arguments: tuple[str, ...]
    environment: dict[str, str]
    teller: Teller

    @classmethod
    def plan(
        cls,
        workflow: Path,
        folder: Path,
        *,
        repeats: int | None = None,
        visits: int = 1,
        timeout_s: int,
        server: tuple[str, int] | None = None,
        comfyui: Path | None = None,
        device: str = "auto",
        arguments: Sequence[str] = (),
        estimate_if_unmetered: bool = False,
        teller: Teller,
    ) -> Batch:
        """Check everything that can be checked before anything runs.

        Args:
            server: host and port of a server that is already running, for a single visit.
            comfyui: ComfyUI's folder; ``None`` looks for it.
            device: ``auto``, or what :func:`.server.device_arguments` takes.
            arguments: more arguments of ComfyUI's command line.
            estimate_if_unmetered: estimate energy where no meter covers the device.

        Raises:
            UsageError: with what is wrong and what to do.
        """
        check_installed()
        check_workflow(workflow)
        if server:
            is_plain = device == "auto" and not arguments and not estimate_if_unmetered
            check_no_server_options(visits, is_plain)
        comfyui = None if server else find_comfyui(comfyui)
        prepare_folder(folder)
        python, note = choose_python(comfyui) if comfyui else (None, "")
        if note:
            teller.say(note)
        device_options = [] if server else device_arguments(device, python)
        environment = {}
        if estimate_if_unmetered and needs_estimate(on_cpu="--cpu" in device_options):
            environment["WATTBENCH_METER"] = "estimate"
            said = "no meter covers this device: energy is estimated (WATTBENCH_METER=estimate)"
            teller.say(said)
        return cls(
            workflow=workflow.resolve(),
            repeats=repeats,
            visits=visits,
            folder=folder,
            timeout_s=timeout_s,
            running=ComfyClient(*server) if server else None,
            comfyui=comfyui,
            python=python,
            arguments=(*device_options, *arguments),
            environment=environment,
            teller=teller,
        )

    def measure(self, results: Results, keep: Callable[[], None]) -> None:
        """Run all visits; ``results`` holds what was measured even where this raises.

        ``keep`` is called at the end of each visit, before its server ends, which takes seconds:
        what it writes is there whatever happens then.

        Raises:
            CommandError: a server or a workflow failed, or fewer runs were measured than asked for.
            CancelledError: somebody interrupted the workflow on the server.
            KeyboardInterrupt: after the server was freed.
        """
        fewer: list[str] = []
        for number in range(1, self.visits + 1):
            with self.visit(number) as visit:
                graph = visit.graph()
                graphs = [graph]
                if self.repeats:
                    graphs = repeated(graph, self.repeats, visit.definitions())
                before = len(results.runs)
                try:
                    visit.measure(graphs, results)
                finally:
                    keep()
                missing = too_few(graphs, results.runs[before:])
                fewer += [f"visit {number} measured {missing}"] if missing else []
        if fewer and results.runs:
            raise CommandError(f"fewer runs than were asked for: {'; '.join(fewer)}")

    @contextlib.contextmanager
    def visit(self, number: int) -> Iterator[Visit]:
        """One visit, from the start of its server to its end.

        Raises:
            CommandError: the server does not start.
        """
        with self._server(number) as server:
            client = server.client if server else self.running
            if client is None:
                raise UsageError("a batch needs a running server or ComfyUI's folder")
            yield Visit(self, number, client, server)

    @contextlib.contextmanager
    def _server(self, visit: int) -> Iterator[ComfyServer | None]:
        if self.comfyui is None:
            yield None
            return
        self.teller.say(f"visit {visit}/{self.visits}: starting ComfyUI")
        server = ComfyServer(
            self.comfyui,
            environment={**self.environment, VISIT_VARIABLE: str(visit)},
            arguments=self.arguments,
            python=self.python,
            log_path=self.folder / f"comfyui_visit{visit}.log",
            say=self.teller.say,
        )
        with server:
            yield server


@dataclass(frozen=True)
class Visit:
    """A server, and what a batch does on it; ``server`` is ``None`` where it is not ours."""

    batch: Batch
    number: int
    client: ComfyClient
    server: ComfyServer | None

    def graph(self) -> Graph:
        """The batch's workflow in API format.

        Raises:
            CommandError: the server lacks one of its nodes.
        """
        return to_api_format(self.client, self.batch.workflow)

    def definitions(self) -> Definitions:
        """The server's node classes.

        Raises:
            ServerUnreachableError: it does not say.
        """
        return definitions_of(self.client.get_json("/object_info"))

    def measure(self, graphs: Sequence[Graph], results: Results, *part: str) -> None:
        """Run ``graphs`` one after the other; ``results`` gains what was measured, in any case.

        ``part`` names what is run in messages and in names of pictures.

        Raises:
            CommandError: the server or a workflow failed.
            CancelledError: somebody interrupted the workflow on the server.
        """
        offset = self.client.output_size(JOURNAL_FILE, JOURNAL_FOLDER)
        try:
            for number, graph in enumerate(graphs, 1):
                where = f"visit {self.number}/{self.batch.visits}"
                label = ", ".join((where, *part, f"workflow {number}/{len(graphs)}"))
                name = "_".join((f"visit{self.number}", *part, f"{number:03}"))
                self._run(graph, label, name.replace(" ", ""), results)
        finally:
            with held():
                appended = read_runs(self.client, self.server, offset, self.batch.teller)
                own = [run for run in appended if run.job_id in results.job_ids]
                if results.pictures and not can_read():
                    self.batch.teller.say(MISSING)
                else:
                    own = list(with_files(own, results.by_job))
                results.runs += own

    def _run(self, graph: Graph, label: str, name: str, results: Results) -> None:
        workflow = self.batch.workflow.name

        def follow(event: Event) -> None:
            if "prompt_id" in event:
                results.job_ids.add(event["prompt_id"])
            tell(event, label, self.batch.teller)

        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, workflow)
            file.write_text(json.dumps(graph), "utf-8")
            job = run_workflow(self.client, file, self.batch.timeout_s, follow)
        if job.error and self.server is not None and not self.server.is_running():
            raise self.server.error(f"ComfyUI died while the workflow ran: {job.error}")
        fetched = fetch_pictures(self.client, job, self.batch.folder / "pictures", name)
        results.by_job.setdefault(job.prompt_id or "", []).extend(fetched)
        if job.was_cancelled:
            raise CancelledError(f"on the server at {self.client.address}")
        if job.error:
            raise CommandError(f"{workflow} failed: {job.error}")


def check_workflow(path: Path) -> None:
    """Raise UsageError unless ``path`` is a workflow that holds a node of this pack."""
    try:
        text = json.dumps(read_json(path, MAX_WORKFLOW_BYTES))
    except IncomingError as error:
        raise UsageError(f"{error}; save it from ComfyUI once more") from error
    if f'"{PACK_PREFIX}' not in text:
        raise UsageError(
            f"{path} has no WattBench node, so nothing would be measured: put in "
            "WattBenchBenchmark, or WattBenchProbeModel and WattBenchCollect"
        )


def check_no_server_options(visits: int, is_plain: bool) -> None:
    """Raise UsageError for options that only a server of our own can honour."""
    if visits > 1:
        raise UsageError(
            "--visits needs a fresh server process each time, and the one that --server names is "
            "already running: leave out one of the two"
        )
    if not is_plain:
        raise UsageError(
            "--server names a server that is already running: --device, --estimate-if-unmetered "
            "and arguments after -- cannot change it"
        )


def prepare_folder(folder: Path) -> None:
    """Make ``folder``; raise UsageError where that, or writing into it, does not work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"--out {folder} cannot be written: {error.strerror}; name another folder"
        ) from error


def needs_estimate(on_cpu: bool) -> bool:
    """Whether neither the user has chosen a meter nor this machine has one for the device."""
    from ...measure.meters import METER_VARIABLE, METERS, DeviceId

    if os.environ.get(METER_VARIABLE):
        return False
    measured = [source for source in METERS if not source.opt_in]
    if on_cpu:
        return not any(source.match(DeviceId("cpu")) for source in measured)
    return not any(offer.available for source in measured for offer in source.probe())


def read_runs(
    client: ComfyClient, server: ComfyServer | None, offset: int, teller: Teller | None = None
) -> list[Run]:
    """The runs that the journal has gained since it was ``offset`` bytes long.

    A server of our own that has died no longer answers, but its journal lies on this machine.

    Raises:
        CommandError: the journal cannot be read.
    """
    try:
        appended = client.output_from(JOURNAL_FILE, JOURNAL_FOLDER, offset)
    except ServerUnreachableError:
        path = server.output_directory / JOURNAL_FOLDER / JOURNAL_FILE if server else None
        if path is None:
            raise
        appended = path.read_bytes()[offset:] if path.is_file() else b""
    contents = journal.read(appended)
    for line, reason in contents.left_out:
        (teller or Silent()).say(
            f"a line of the server's journal is left out (the {line}. new one): {reason}"
        )
    return list(contents.runs)


def tell(event: Event, label: str, teller: Teller) -> None:
    """Which node runs now, and how far it is."""
    if event.get("type") == "executing":
        teller.say(f"{label}: {event['title']}")
    elif event.get("type") == "progress":
        teller.progress(event["completed"], event["total"])
