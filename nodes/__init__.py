"""The pack's face in ComfyUI: V3 nodes, one module a family, and the routes of its pages."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from ..hosts.comfyui.beside_route import add_beside_route
from ..hosts.comfyui.history import add_history_route
from ..hosts.comfyui.kept import add_kept
from ..hosts.comfyui.levers_route import add_levers_route
from ..hosts.comfyui.live import add_live_route
from ..hosts.comfyui.meters_route import add_meters_route
from ..hosts.comfyui.replaced_route import add_replaced_route
from ..hosts.comfyui.runs_route import add_runs_route
from ..hosts.comfyui.tune_route import add_tune_route
from ..hosts.comfyui.watch_route import add_watch_route
from . import (
    attention,
    benchmark,
    calibrate,
    guard,
    join,
    optimize,
    output,
    predict,
    probe,
    quality,
    quant_report,
    quantize,
    quantized,
    synthetic,
    twins,
    watch,
)

MEASURING = frozenset(
    node.__name__ for family in (benchmark, probe, twins) for node in family.NODES
)
"""Nodes that measure by themselves."""


class WattBenchExtension(ComfyExtension):
    """All nodes of the pack; to add one, put it into its family's ``NODES``."""

    async def on_load(self) -> None:
        add_kept()
        add_live_route()
        add_levers_route()
        add_meters_route()
        add_replaced_route()
        add_tune_route()
        add_watch_route(watch.GraphWatch)
        add_history_route(watch.timeline, MEASURING)
        add_runs_route(output.shown)
        add_beside_route(output.beside)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        families = (
            benchmark,
            predict,
            output,
            join,
            guard,
            quality,
            probe,
            watch,
            twins,
            synthetic,
            attention,
            optimize,
            quantized,
            quantize,
            calibrate,
            quant_report,
        )
        return [node for family in families for node in family.NODES]
