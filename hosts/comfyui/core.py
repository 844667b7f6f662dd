"""ComfyUI's own nodes, run as they are, so that a measured twin gives what the core node gives."""

from __future__ import annotations

import importlib
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker


def run_core(node_id: str, **inputs: Any) -> tuple[Any, ...]:
    """Run the core node ``node_id`` and return its outputs."""
    core = _core_class(node_id)()
    return tuple(getattr(core, core.FUNCTION)(**inputs))


def core_inputs(node_id: str) -> list[io.Input]:
    """The inputs of the core node, whatever this version of ComfyUI gives it."""
    inputs = []
    for section, specs in _core_class(node_id).INPUT_TYPES().items():
        if section in ("required", "optional"):
            for name, spec in specs.items():
                inputs.append(_mirror(name, spec, optional=section == "optional"))
    return inputs


def core_outputs(node_id: str) -> list[io.Output]:
    """The outputs of the core node."""
    core = _core_class(node_id)
    names = getattr(core, "RETURN_NAMES", core.RETURN_TYPES)
    tips = getattr(core, "OUTPUT_TOOLTIPS", [None] * len(core.RETURN_TYPES))
    return [
        io.Custom(_text(kind)).Output(display_name=_text(name), tooltip=tip)
        for kind, name, tip in zip(core.RETURN_TYPES, names, tips, strict=True)
    ]


def core_description(node_id: str) -> str:
    return getattr(_core_class(node_id), "DESCRIPTION", "")


def blank() -> Any:
    """An output that has no value: what depends on it is not executed."""
    return ExecutionBlocker(None)


def _core_class(node_id: str) -> Any:
    """ComfyUI's class; its module ``nodes`` is not the pack's package of that name."""
    return importlib.import_module("nodes").NODE_CLASS_MAPPINGS[node_id]


def _mirror(name: str, spec: tuple[Any, ...], *, optional: bool) -> io.Input:
    kind, options = spec[0], dict(spec[1]) if len(spec) > 1 else {}
    if isinstance(kind, list):
        return io.Combo.Input(name, options=kind, optional=optional, extra_dict=options)
    return io.Custom(_text(kind)).Input(name, optional=optional, extra_dict=options)


def _text(name: Any) -> str:
    """A type's name: some core nodes give an enumeration's member."""
    return str(getattr(name, "value", name))
