"""The linear layers of a MODEL, whatever class ComfyUI or a loader gave them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def linear_layers(model: Any) -> Iterator[tuple[str, Any, tuple[int, int]]]:
    """Name, module and shape ``(out, in)`` of each linear layer of the diffusion model."""
    for name, module in model.model.diffusion_model.named_modules():
        if hasattr(module, "in_features") and hasattr(module, "out_features"):
            yield name, module, (module.out_features, module.in_features)
