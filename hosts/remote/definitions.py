"""What a server says of its node classes (``/object_info``), as far as graphs are changed by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SOCKETS_ONLY = "forceInput"


@dataclass(frozen=True)
class Input:
    """An input of a node class. ``default`` is that of its widget, ``None`` for a pure socket.

    ``choices`` are the texts that the server takes for it; ``None`` where it does not list them.
    ``maximum`` is the largest number, ``is_drawn`` whether the page changes it after each prompt.
    """

    name: str
    type: str
    default: Any
    is_widget: bool
    is_required: bool
    choices: tuple[str, ...] | None = None
    maximum: int | None = None
    is_drawn: bool = False


@dataclass(frozen=True)
class Definition:
    """A node class: its inputs in the order of the class, and the types of its outputs."""

    class_type: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    output_names: tuple[str, ...] = ()
    is_output_node: bool = False

    def defaults(self) -> dict[str, Any]:
        """What the widgets of a fresh node say."""
        return {item.name: item.default for item in self.inputs if item.is_widget}

    def named(self, type_name: str) -> list[str]:
        """The names of the inputs of a type."""
        return [item.name for item in self.inputs if item.type == type_name]


Definitions = Mapping[str, Definition]

WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


def definitions_of(object_info: Mapping[str, Any]) -> dict[str, Definition]:
    """Every class of a server's ``/object_info`` by its name."""
    return {name: _definition(name, info) for name, info in object_info.items()}


def _definition(name: str, info: Mapping[str, Any]) -> Definition:
    inputs = [
        _input(key, spec, section == "required")
        for section in ("required", "optional")
        for key, spec in info.get("input", {}).get(section, {}).items()
    ]
    return Definition(
        name,
        tuple(inputs),
        tuple(kind if isinstance(kind, str) else "COMBO" for kind in info.get("output", ())),
        tuple(info.get("output_name", ())),
        bool(info.get("output_node")),
    )


def _input(name: str, spec: Any, is_required: bool) -> Input:
    kind = spec[0] if spec else "*"
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    choices = kind if isinstance(kind, list) else options.get("options", ())
    type_name = "COMBO" if isinstance(kind, list) else str(kind)
    is_widget = type_name in WIDGET_TYPES and not options.get(SOCKETS_ONLY)
    fallback = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}.get(type_name)
    first = choices[0] if choices else fallback
    default = options.get("default", first) if is_widget else None
    is_listed = type_name == "COMBO" and "remote" not in options
    listed = tuple(map(str, choices)) if is_listed else None
    maximum = options.get("max") if type_name == "INT" else None
    return Input(
        name,
        type_name,
        default,
        is_widget,
        is_required,
        listed,
        maximum if isinstance(maximum, int) else None,
        bool(options.get("control_after_generate")),
    )
