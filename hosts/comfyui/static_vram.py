"""Weights that lie in memory before a model runs, where ComfyUI fetches them while it runs.

ComfyUI's dynamic VRAM lets weights fault in as layers need them, which spares memory and makes the
host do more for every layer. A clone of a model can go without, for itself alone.
"""

from __future__ import annotations

from typing import Any

import comfy.memory_management

from .identity import attach_optimization

KEY = "wattbench_static_vram"
NAME = "static vram"


def is_dynamic_vram() -> bool:
    """Whether this ComfyUI loads models dynamically."""
    return bool(getattr(comfy.memory_management, "aimdo_enabled", False))


def static_clone(model: Any) -> Any:
    """A clone whose weights are loaded before it runs; its own ones where ``model``'s fault in.

    Raises:
        ValueError: they fault in, and the node that made the model cannot load it another time.
    """
    try:
        return model.clone(disable_dynamic=True)
    except RuntimeError as error:
        if getattr(model, "cached_patcher_init", None) is not None:
            raise
        raise ValueError(
            "this model's weights fault in while it runs (dynamic VRAM), and the node that loaded "
            "it cannot load it otherwise. Start ComfyUI with --disable-dynamic-vram, or load the "
            "model by another node"
        ) from error


def keep_in_vram(model: Any) -> Any:
    """A clone of ``model`` without dynamic VRAM; ``model`` itself where it has none.

    Raises:
        ValueError: as :func:`static_clone`.
    """
    if not model.is_dynamic():
        return model
    changed = static_clone(model)
    attach_optimization(changed, KEY, NAME)
    return changed
