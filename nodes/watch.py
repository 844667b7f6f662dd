"""Watch a whole graph: what each node of it cost, without a probe in it."""

from __future__ import annotations

import logging
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..hosts.comfyui.host import HOST
from ..hosts.comfyui.incoming import checked_meter, meter_of
from ..hosts.comfyui.progress import follow_prompt, send, workflow_id
from ..hosts.comfyui.workspace import folder_in_output
from ..measure.graph.costs import GraphCost, GraphNode, graph_cost
from ..measure.graph.history import Entries
from ..measure.graph.log import NodeLog
from ..measure.meters.bounded import never
from ..measure.protocol.observation import open_instrument
from .output import listed
from .types import CATEGORY, meter_input, refused

FOLDER = "wattbench"
TABLE = "nodes.csv"
EVENT = "wattbench_watch"
"""The event that tells the page what a prompt cost, and the key of the node's output."""


class WattBenchWatchGraph(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchWatchGraph",
            display_name="Watch Graph (WattBench)",
            category=CATEGORY,
            description=(
                "Measures the time, energy and VRAM of every node of the workflow it lies in. It "
                "needs no wire. When the run has ended it shows the table and adds it to nodes.csv."
            ),
            search_aliases=[
                "monitor",
                "gpu",
                "vram",
                "power",
                "watt",
                "energy",
                "profiler",
                "node timing",
                "per node",
            ],
            is_output_node=True,
            inputs=[
                io.String.Input(
                    "folder",
                    default=FOLDER,
                    tooltip=(
                        "A folder within ComfyUI's output folder, for nodes.csv. It is made if "
                        "need be."
                    ),
                ),
                meter_input(),
            ],
            outputs=[],
        )

    @classmethod
    def validate_inputs(cls, folder: str = FOLDER, meter: str = "auto") -> bool | str:
        return refused(lambda: (folder_in_output(folder), checked_meter(meter)))

    @classmethod
    def fingerprint_inputs(cls, folder: str, meter: str = "auto") -> str:
        """ComfyUI asks for it before any node runs: that is when watching has to begin."""
        follow_prompt(lambda: GraphWatch(folder, meter))
        return uuid.uuid4().hex

    @classmethod
    def execute(cls, folder: str, meter: str = "auto") -> io.NodeOutput:
        """Where ComfyUI asked for no fingerprint (``--cache-none``), watching begins here."""
        from ..report.nodes import check_nodes_table

        watch = follow_prompt(lambda: GraphWatch(folder, meter))
        table = folder_in_output(folder) / TABLE
        if table.exists():
            check_nodes_table(table)
        # ComfyUI keeps this very dict in its history, so that it is not empty there in the end.
        return io.NodeOutput(ui={"files": [listed(table)], EVENT: [watch.shown]})


class GraphWatch:
    """Measures one prompt from when it is made until :meth:`ended`, and reports.

    Only ComfyUI's main device is measured.

    Raises:
        MeterUnavailableError: a meter asked for by name cannot be opened.
        ValueError: ``folder`` lies outside of ComfyUI's output folder.
    """

    def __init__(self, folder: str = FOLDER, meter: str = "auto") -> None:
        self._table = folder_in_output(folder) / TABLE
        self._log = NodeLog()
        self.shown: dict[str, Any] = {}
        with ExitStack() as resources:
            instrument, environment = resources.enter_context(
                open_instrument(HOST, HOST.device(), meter_of(meter), check=never)
            )
            self._window, self._recording = resources.enter_context(instrument.record())
            self._resources = resources.pop_all()
        self._device = environment.gpu_name or environment.cpu_name

    def started(self, node_id: str) -> None:
        self._log.start(node_id, self._window.mark())

    def finished(self, node_id: str) -> None:
        self._log.finish(node_id, self._window.mark())

    def missed(self, node_id: str) -> None:
        self._log.missed.add(node_id)

    def ended(self, prompt_id: str, nodes: list[GraphNode]) -> None:
        with self._resources:
            for piece in self._log.pieces(self._window.mark()):
                self._window.add(*piece)
        cost = graph_cost(prompt_id, self._device, self._recording, self._log, nodes)
        self.shown.update(as_shown(cost, _write(cost, self._table), workflow_id(prompt_id)))
        send(EVENT, self.shown)
        for node in nodes:
            if node.class_type == "WattBenchWatchGraph":
                send(
                    "executed",
                    {
                        "node": node.node_id,
                        "display_node": node.display_id,
                        "prompt_id": prompt_id,
                        "output": {EVENT: [self.shown]},
                    },
                )


def timeline(entries: Entries, language: str) -> str:
    """The page of the history; see :func:`..report.timeline.as_timeline`."""
    from ..report.timeline import as_timeline

    return as_timeline(entries, language)


def _write(cost: GraphCost, table: Path) -> str:
    """Where the rows went, or why they went nowhere: the picture is made, so this is no error."""
    from ..report.nodes import append_nodes

    try:
        append_nodes(cost, table)
    except (OSError, ValueError) as error:
        logging.error("WattBench could not write the nodes' costs: %s", error)
        return f"not written: {error}"
    return table.relative_to(folder_in_output("")).as_posix()


def as_shown(cost: GraphCost, file: str, workflow_id: str | None) -> dict[str, Any]:
    """What the page is told; numbers in SI units, ``None`` where nothing was measured."""
    energy_note = f"Energy: {cost.energy_note}" if cost.energy_note else ""
    vram_note = f"VRAM: {cost.vram_note}" if cost.vram_note else ""
    notes = [energy_note, vram_note, *(f"Board: {flag}" for flag in cost.flags)]
    return {
        "prompt_id": cost.prompt_id,
        "workflow_id": workflow_id,
        "device": cost.device,
        "time_s": cost.time_s,
        "energy_j": cost.energy.energy_j if cost.energy else None,
        "meter": cost.energy.meter if cost.energy else None,
        "method": cost.energy.method if cost.energy else None,
        "peak_vram_bytes": cost.vram.peak_bytes if cost.vram else None,
        "file": file,
        "notes": [note for note in notes if note],
        "nodes": [
            {
                "node_id": item.node.node_id,
                "display_id": item.node.display_id,
                "class_type": item.node.class_type,
                "title": item.node.title,
                "state": item.state,
                "time_s": item.time_s,
                "energy_j": item.energy.energy_j if item.energy else None,
                "peak_vram_bytes": item.vram.peak_bytes if item.vram else None,
                "note": item.note,
            }
            for item in cost.nodes
        ],
    }


NODES: list[type[io.ComfyNode]] = [WattBenchWatchGraph]
