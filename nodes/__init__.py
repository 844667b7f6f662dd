"""The pack's face in ComfyUI: V3 nodes, one module a family, and the route of the HUD."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import attention, benchmark, guard, optimize, output, predict, probe, synthetic, twins
from .host.live import add_live_route


class WattBenchExtension(ComfyExtension):
    """All nodes of the pack; to add one, put it into its family's ``NODES``."""

    async def on_load(self) -> None:
        add_live_route()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        families = (benchmark, predict, output, guard, optimize, probe, twins, synthetic, attention)
        return [node for family in families for node in family.NODES]
