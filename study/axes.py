"""The axes of a plan: what can be varied from cell to cell, and how a graph is set to a level.

To add one: an :class:`Axis` in :data:`AXES`, a test. The levers of ``tune`` are axes as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..hosts.remote.graph import Graph
from .levers import LEVERS

AS_IS = "as_is"
"""The level that leaves a graph as its file has it."""


@dataclass(frozen=True)
class Axis:
    """Something that a plan varies.

    ``inputs`` are the names of node inputs that take the level; none for levers, which are nodes of
    their own, and for the board's power cap. ``changes_work`` tells whether cells of different
    levels make different pictures by intent, so that they are never compared with each other.
    """

    name: str
    kind: type
    example: str
    inputs: tuple[str, ...] = ()
    changes_work: bool = False

    def refuse(self, level: Any) -> str:
        """Why ``level`` cannot be one of this axis; empty where it can."""
        if isinstance(level, bool) or not isinstance(level, (int, float, str)):
            return f"a level is text or a number, as in {self.example}"
        if self.kind is str and not isinstance(level, str):
            return f"it takes text, as in {self.example}"
        if self.kind is str:
            return ""
        if isinstance(level, str):
            return f"it takes numbers, as in {self.example}"
        if self.kind is int and not isinstance(level, int):
            return f"it takes whole numbers, as in {self.example}"
        least = 1 if self.kind is int else 0
        return "" if least <= level < float("inf") else "it is out of range"


AXES: tuple[Axis, ...] = (
    *(Axis(lever.name, str, f'["{AS_IS}", "..."]') for lever in LEVERS),
    Axis("power_cap_w", int, "[200, 250]"),
    Axis("size", int, "[512, 1024]", ("width", "height"), True),
    Axis("width", int, "[512, 1024]", ("width",), True),
    Axis("height", int, "[512, 1024]", ("height",), True),
    Axis("steps", int, "[10, 20]", ("steps",), True),
    Axis("cfg", float, "[1.0, 7.0]", ("cfg",), True),
    Axis("batch", int, "[1, 4]", ("batch_size",), True),
    Axis("sampler", str, '["euler"]', ("sampler_name",), True),
    Axis("scheduler", str, '["normal"]', ("scheduler",), True),
    Axis("model", str, '["a.safetensors"]', ("ckpt_name", "unet_name"), True),
    Axis("architecture", str, '["sdxl", "flux"]', ("architecture",), True),
    Axis("dtype", str, '["bf16", "fp16"]', ("dtype",), True),
)
"""In the order in which they are applied."""


def axis_named(name: str) -> Axis:
    """The axis of that name.

    Raises:
        ValueError: there is none.
    """
    for axis in AXES:
        if axis.name == name:
            return axis
    raise ValueError(f"unknown axis {name!r}; choose from {', '.join(a.name for a in AXES)}")


def with_level(graph: Graph, axis: Axis, level: str | int | float) -> Graph:
    """A copy of ``graph`` in which every input of the axis that is a value has ``level``.

    Raises:
        ValueError: no node has such an input, so the level would change nothing.
    """
    changed = copy.deepcopy(graph)
    found = 0
    for node in changed.values():
        for name in axis.inputs:
            if name in node.get("inputs", {}) and not isinstance(node["inputs"][name], list):
                node["inputs"][name] = axis.kind(level)
                found += 1
    if not found:
        raise ValueError(
            f"no node of the workflow has {_either(axis.inputs)}, so {axis.name} = {level} would "
            "change nothing"
        )
    return changed


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"an input {name}" for name in names)
