"""In which format Forge keeps the weights that it loads: *Diffusion in Low Bits* of its page."""

from __future__ import annotations

from typing import Any

from modules import sd_models
from modules_forge import main_entry

AS_SET = "as set"
"""Leave the format to Forge's own setting."""

STORAGE = "unet_storage_dtype"


def storage_names() -> list[str]:
    """Forge's names of the formats; none where this branch has no such setting."""
    return list(getattr(main_entry, "forge_unet_storage_dtype_options", {}))


def parameters_with(name: str) -> dict[str, Any]:
    """Forge's loading parameters with another format: it loads anew where they differ."""
    storage = main_entry.forge_unet_storage_dtype_options[name]
    chosen = storage[0] if isinstance(storage, tuple) else storage
    return {**sd_models.model_data.forge_loading_parameters, STORAGE: chosen}
