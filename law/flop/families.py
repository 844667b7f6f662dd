"""The pack's name of a model, by what hosts detect of it: a class and its dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OTHER_SIZE = "_other_size"
"""Ends the architecture of a model that has the family's layers in other numbers or widths."""


@dataclass(frozen=True)
class Family:
    """The pack's name of a host's model class, and the dimensions of the published model."""

    name: str
    dimensions: dict[str, Any] = field(default_factory=dict)


FLUX = Family("flux", {"hidden_size": 3072, "depth": 19, "depth_single_blocks": 38})
FAMILIES: Mapping[str, tuple[Family, ...]] = {
    "SD15": (Family("sd15", {"model_channels": 320}),),
    "SD20": (Family("sd2", {"model_channels": 320}),),
    "SDXL": (Family("sdxl", {"model_channels": 320, "transformer_depth": [0, 0, 2, 2, 10, 10]}),),
    "SD3": (Family("sd35", {"depth": 38}),),
    "Flux": (FLUX,),
    "FluxSchnell": (FLUX,),
    "Flux2": (
        Family("flux2_klein", {"hidden_size": 3072, "depth": 5, "depth_single_blocks": 20}),
        Family("flux2_klein_9b", {"hidden_size": 4096, "depth": 8, "depth_single_blocks": 24}),
    ),
    "QwenImage": (Family("qwen_image", {"num_layers": 60}),),
    "ZImage": (Family("z_image", {"dim": 3840, "n_layers": 30}),),
}
"""Configuration classes of ComfyUI, which Forge's ``huggingface_guess`` has too; the dimensions are
keys of their ``unet_config``. A class of several published sizes has a name for each.

The names are those of :data:`.FORMULAS`. Classes that are not here keep their name in lower case.
"""


def family_name(class_name: str, config: Mapping[str, Any]) -> str:
    """The pack's name of a model whose configuration is of that class, with these dimensions."""
    families = FAMILIES.get(class_name)
    if families is None:
        return class_name.lower()
    for family in families:
        if all(config.get(key) == value for key, value in family.dimensions.items()):
            return family.name
    return (families[0].name if len(families) == 1 else class_name.lower()) + OTHER_SIZE
