"""Axes of Forge's X/Y/Z plot: attention, weights, memory format and the board's power limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from modules import scripts, sd_models

from ...measure.power_limit.guarded import GuardedLimit
from .attention import attention_choices
from .host import FORGE
from .options import CHOSEN
from .selection import MEMORY_FORMATS
from .storage import parameters_with, storage_names

LABEL = "[WattBench] "


class Changed:
    """What cells of a grid have changed beyond their own generation; kept by the host."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._limit: GuardedLimit | None = None
        self._has_parameters = False

    def set_weights(self, name: str) -> None:
        """Let Forge load the model's weights in another format from the next generation on."""
        data = sd_models.model_data
        if not self._has_parameters:
            self._has_parameters = True
            self._stack.callback(
                setattr, data, "forge_loading_parameters", data.forge_loading_parameters
            )
        data.forge_loading_parameters = parameters_with(name)

    def set_cap_w(self, cap_w: float) -> None:
        """Set the board's power limit; :meth:`restore` puts it back, and so does a crash.

        Raises:
            CommandError: without the rights, or where the board has none.
        """
        if self._limit is None:
            self._limit = self._stack.enter_context(GuardedLimit("auto"))
        self._limit.set_w(cap_w)

    def restore(self) -> None:
        """Everything is as it was before the grid."""
        self._limit = None
        self._has_parameters = False
        self._stack.close()


def add_axes() -> None:
    """Give Forge's X/Y/Z plot our axes, each once."""
    for data in scripts.scripts_data:
        options = getattr(data.module, "axis_options", None)
        kind = getattr(data.module, "AxisOption", None)
        if options is not None and kind is not None:
            known = {option.label for option in options}
            options += [axis for axis in _axes(kind) if axis.label not in known]


def _axes(kind: Any) -> list[Any]:
    def choose(name: str) -> Callable[[Any, Any, Any], None]:
        def apply(p: Any, value: Any, _: Any) -> None:
            setattr(p, CHOSEN, {**getattr(p, CHOSEN, {}), name: value})

        return apply

    def weights(p: Any, value: str, _: Any) -> None:
        choose("measure")(p, True, _)
        FORGE.kept(Changed).set_weights(value)

    def cap(p: Any, value: float, _: Any) -> None:
        choose("measure")(p, True, _)
        FORGE.kept(Changed).set_cap_w(value)

    def one_of(names: Sequence[str]) -> Callable[[Any, Sequence[Any]], None]:
        def confirm(_: Any, values: Sequence[Any]) -> None:
            for value in values:
                if value not in names:
                    raise RuntimeError(f"{value!r} is none of {', '.join(names)}")

        return confirm

    known_storage = storage_names()
    return [
        kind(
            f"{LABEL}Attention",
            str,
            choose("attention"),
            confirm=one_of(attention_choices()),
            choices=attention_choices,
        ),
        kind(
            f"{LABEL}Weights",
            str,
            weights,
            confirm=one_of(known_storage),
            cost=0.9,
            choices=lambda: known_storage,
        ),
        kind(
            f"{LABEL}Memory format",
            str,
            choose("memory_format"),
            confirm=one_of(MEMORY_FORMATS),
            choices=lambda: list(MEMORY_FORMATS),
        ),
        kind(f"{LABEL}Power limit (W)", float, cap, cost=0.8),
    ]
