"""A running Forge as the place where a plan is carried out.

A request to Forge's API is a graph of one node, whose inputs have ComfyUI's names where there is
one: so the axes and the runner of a plan are the same for both hosts. The levers are arguments of
the pack's script.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..analysis.columns import RunRow
from ..errors import CommandError
from ..hosts.remote.client import ServerUnreachableError
from ..hosts.remote.definitions import Definition, Definitions, Input
from ..hosts.remote.forge import IMG2IMG, TXT2IMG, ForgeClient
from ..hosts.remote.graph import NOISE_SEED, Graph
from ..incoming import IncomingError, read_json
from ..records import Run
from .levels import Offers
from .measured import Instrumented, Prompt
from .search import Settings

NODE, KIND = "1", "ForgeRequest"
SCRIPT = "WattBench"
NAMES = {"cfg": "cfg_scale", NOISE_SEED: "seed"}
"""ComfyUI's names of inputs, and Forge's."""
CHECKPOINT, OVERRIDE = "sd_model_checkpoint", "override_settings"
MODEL = "ckpt_name"
DEFAULTS: dict[str, Any] = {
    "width": 512,
    "height": 512,
    "steps": 20,
    "cfg": 7.0,
    "batch_size": 1,
    "sampler_name": "Euler",
    "scheduler": "Automatic",
    NOISE_SEED: 0,
}
"""Forge's own, but for the seed, which would be another one each time."""
LEVERS = ("attention", "memory_format", "weights")
"""Arguments of the pack's script that ``/wattbench/levers`` has levels for."""
ONE_BENCHMARK = {
    "measure": True,
    "benchmark": True,
    "repeats": 1,
    "warmups": 0,
    "idle_s": 0,
    "max_warmup_s": 0,
    "cooldown_s": 0,
}
"""A benchmark encodes the prompts anew, which Forge otherwise keeps; the plan says how often."""
MAX_BYTES = 2**26
"""Of a request's file; the pictures of an img2img are within."""


@dataclass(frozen=True)
class ForgeBench:
    """A Forge that runs already, with what it offers."""

    client: ForgeClient
    definitions: Definitions
    arguments: Mapping[str, Any]
    pictures: Path
    counted: ClassVar[frozenset[str]] = frozenset({"attention"})

    def levers(self) -> Offers:
        return dict(self.client.own("/wattbench/levers"))

    def environment(self) -> dict[str, Any]:
        return dict(self.client.own("/wattbench/environment"))

    def api_graph(self, workflow: Any) -> Graph:
        """A request's body as a graph.

        Raises:
            CommandError: it is none.
        """
        if not isinstance(workflow, dict) or "nodes" in workflow or _is_graph(workflow):
            raise CommandError(
                "this is no request to Forge: give the JSON body of a txt2img or img2img request, "
                'as {"prompt": "a cat", "steps": 20}. ComfyUI\'s workflows run there only'
            )
        asked = dict(workflow)
        for ours, theirs in NAMES.items():
            if theirs in asked:
                asked[ours] = asked.pop(theirs)
        if asked.get(NOISE_SEED, 0) == -1:
            raise CommandError("the request's seed is -1, another one each time: give a number")
        override = dict(asked.pop(OVERRIDE, None) or {})
        model = override.pop(CHECKPOINT, None) or self.client.get_json("/sdapi/v1/options").get(
            CHECKPOINT
        )
        inputs = {**DEFAULTS, MODEL: model, **asked, OVERRIDE: override}
        return {NODE: {"class_type": KIND, "inputs": inputs}}

    def api_graph_of(self, file: Path) -> Graph:
        try:
            return self.api_graph(read_json(file, MAX_BYTES))
        except (OSError, IncomingError) as error:
            raise CommandError(f"{file} cannot be read: {error}") from error

    def with_levers(self, graph: Graph, settings: Settings) -> Graph:
        """The graph with levels of levers, which are arguments of the pack's script."""
        node = graph[NODE]
        return {NODE: {**node, "inputs": {**node["inputs"], **dict(settings)}}}

    def instrumented(self, graph: Graph) -> Instrumented:
        """As it is: the pack measures every generation."""
        return Instrumented(graph, "")

    watched = instrumented

    def with_settings(
        self, workflow: Mapping[str, Any], graph: Graph, settings: Settings
    ) -> dict[str, Any]:
        """The request with levels of levers in the arguments of the pack's script."""
        arguments = {**self.arguments, "measure": False, **dict(settings)}
        scripts = workflow.get("alwayson_scripts") or {}
        own = {SCRIPT: {"args": list(arguments.values())}}
        return {**workflow, "alwayson_scripts": {**scripts, **own}}

    def graph_with(
        self, workflow: Mapping[str, Any], graph: Graph | None, settings: Settings
    ) -> Graph:
        return self.with_levers(self.api_graph(workflow) if graph is None else graph, settings)

    def measure(self, instrumented: Instrumented, name: str) -> Prompt:
        path, body = request_of(instrumented.graph, self.arguments)
        offset = self.client.journal_end()
        try:
            answer, error = self.client.generate(path, body)
        except ServerUnreachableError as unreachable:
            # It may only be slow: what it makes must not run on into the next measurement.
            with contextlib.suppress(ServerUnreachableError):
                self.client.interrupt()
            return Prompt(error=str(unreachable))
        except BaseException:
            with contextlib.suppress(ServerUnreachableError):
                self.client.interrupt()
            raise
        runs = tuple(self.client.runs_since(offset))
        failed = "; ".join(dict.fromkeys(run.error for run in runs if run.error))
        unmeasured = "" if runs else "Forge measured no run; see its log"
        pictures = self._keep(answer.get("images") or (), name)
        return _prompt(runs, pictures, failed or error or unmeasured)

    def _keep(self, images: Sequence[Any], name: str) -> tuple[Path, ...]:
        paths = []
        for number, image in enumerate(images, 1):
            self.pictures.mkdir(parents=True, exist_ok=True)
            path = self.pictures / f"{name}_{number:03}.png"
            try:
                path.write_bytes(base64.b64decode(str(image), validate=True))
            except binascii.Error as error:
                raise CommandError(f"{self.client.address} sent no picture: {error}") from error
            paths.append(path)
        return tuple(paths)


@dataclass(frozen=True)
class ForgeRig:
    """One Forge that runs already; it keeps its launch options, and is never fresh."""

    client: ForgeClient
    folder: Path
    arguments: tuple[str, ...] = field(default=(), init=False)
    is_fresh: ClassVar[bool] = False

    @contextlib.contextmanager
    def open(self, launch: Sequence[str], name: str) -> Iterator[ForgeBench]:
        """The running Forge, as it is.

        Raises:
            ServerUnreachableError: it does not answer, or lacks the pack.
        """
        arguments = self.client.own("/wattbench/arguments")
        definition = _definition(self.client)
        pictures = self.folder / "pictures"
        yield ForgeBench(self.client, {KIND: definition}, arguments, pictures)


def _prompt(runs: tuple[Run, ...], pictures: tuple[Path, ...], error: str) -> Prompt:
    """What a request took: its benchmark makes one run of all of its pictures."""
    if error or len(runs) != 1:
        return Prompt(runs=runs, pictures=pictures, error=error)
    (run,) = runs
    energy, vram = run.energy, run.vram
    return Prompt(
        time_s=RunRow(run).image_time_s,
        energy_j=energy.energy_j if energy else None,
        energy_method=energy.method if energy else "",
        peak_vram_bytes=vram.peak_bytes if vram else None,
        note="; ".join(filter(None, (run.energy_note, run.vram_note))),
        runs=runs,
        pictures=pictures,
    )


def request_of(graph: Graph, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The path and the body of the request that a graph stands for.

    Args:
        arguments: those of the pack's script in their order, with their defaults.
    """
    inputs: dict[str, Any] = dict(graph[NODE]["inputs"])
    chosen = {lever: inputs.pop(lever) for lever in LEVERS if lever in inputs}
    override = inputs.pop(OVERRIDE)
    model = inputs.pop(MODEL)
    if model:
        override = {**override, CHECKPOINT: model}
    body: dict[str, Any] = {NAMES.get(name, name): value for name, value in inputs.items()}
    own = {**arguments, **ONE_BENCHMARK, **chosen}
    scripts = {**(body.get("alwayson_scripts") or {}), SCRIPT: {"args": list(own.values())}}
    body.update({OVERRIDE: override, "alwayson_scripts": scripts})
    return (IMG2IMG if body.get("init_images") else TXT2IMG), body


def _is_graph(workflow: Mapping[str, Any]) -> bool:
    return any(isinstance(value, dict) and "class_type" in value for value in workflow.values())


def _definition(client: ForgeClient) -> Definition:
    """What this Forge takes for samplers, schedules and checkpoints."""
    samplers = [one["name"] for one in client.get_json("/sdapi/v1/samplers")]
    schedulers = ["Automatic", *(one["label"] for one in client.get_json("/sdapi/v1/schedulers"))]
    models = [
        name
        for one in client.get_json("/sdapi/v1/sd-models")
        for name in (one["title"], one["model_name"], Path(one["filename"]).name)
    ]
    choices = {"sampler_name": samplers, "scheduler": schedulers, MODEL: models}
    inputs = (
        Input(name, "COMBO", DEFAULTS.get(name), True, False, tuple(dict.fromkeys(known)))
        for name, known in choices.items()
    )
    return Definition(KIND, tuple(inputs), ())
