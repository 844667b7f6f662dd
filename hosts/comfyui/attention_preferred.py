"""The attention that a checkpoint names for a layer, which ComfyUI knows from 0.38 on.

Its wrapper takes ``preferred_attention`` out of a call before it asks an override, so that an
override is not told what it stands before. The wrapper's own frame still holds it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

import comfy.ldm.modules.attention as comfy_attention

NAME = "preferred_attention"
"""What ComfyUI's wrapper calls the layer's choice: an object whose ``function`` computes it."""

PASSED_OVER = "the checkpoint asks for {0} in this layer, and this choice computes it instead"


def wrapper_code() -> CodeType | None:
    """The code of ComfyUI's wrapper, where it knows such choices; ``None`` in older ComfyUI."""
    code = comfy_attention.attention_pytorch.__code__
    return code if isinstance(code, CodeType) and NAME in code.co_varnames else None


def preferred_function(code: CodeType | None) -> Callable[..., Any] | None:
    """What the layer that is computed now prefers; ``None`` if nothing, or outside of a wrapper.

    Args:
        code: of ComfyUI's wrapper, as :func:`wrapper_code` finds it.
    """
    if code is None:
        return None
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return None
    found: Callable[..., Any] | None = getattr(frame.f_locals.get(NAME), "function", None)
    return found


def prefers_attention(diffusion_model: Any) -> bool:
    """Whether a layer of a model names an attention function that this machine has."""
    kind = getattr(comfy_attention, "ComfyAttention", None)
    return kind is not None and any(
        isinstance(module, kind) and module.function is not None
        for module in diffusion_model.modules()
    )
