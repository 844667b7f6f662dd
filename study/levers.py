"""The levers of ``wattbench tune``: what can be set, and which node of a graph sets it.

To add one: a :class:`LeverKind` in :data:`LEVERS`, its levels in :func:`levels_of`, a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Place = Literal["model", "vae", "server"]
"""Where a lever acts: on a model's wire before its sampler, on a VAE's, or on the server."""


@dataclass(frozen=True)
class LeverKind:
    """How a lever is set.

    ``class_type`` is the node that is put into a wire, ``setting`` its input that takes the level,
    ``inputs`` what its other inputs get where that is not their default. Levers of the server have
    no node. ``counts`` names the operation whose ledger proves that the lever acted.
    """

    name: str
    place: Place
    meaning: str
    class_type: str = ""
    setting: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    counts: str = ""


LEVERS: tuple[LeverKind, ...] = (
    LeverKind("launch", "server", "launch options of ComfyUI"),
    LeverKind(
        "weights",
        "model",
        "format of the model's weights",
        "WattBenchQuantizeModel",
        "weight_format",
        counts="linear",
    ),
    LeverKind(
        "static_vram", "model", "weights in memory before the model runs", "WattBenchStaticVRAM"
    ),
    LeverKind(
        "memory_format",
        "model",
        "layout of pictures in memory",
        "WattBenchMemoryFormat",
    ),
    LeverKind(
        "attention",
        "model",
        "attention kernel of the model",
        "WattBenchAttentionBackend",
        "backend",
        counts="attention",
    ),
    LeverKind(
        "noise_levels", "model", "where samplers ask for noise levels", "WattBenchNoiseLevels"
    ),
    LeverKind("compile", "model", "torch.compile of the model", "WattBenchCompile", "mode"),
    LeverKind(
        "vae_attention", "vae", "attention kernel of the VAE", "WattBenchVAEAttention", "backend"
    ),
)
"""In the order in which their nodes follow each other on a wire."""


def lever_named(name: str) -> LeverKind:
    """The lever of that name.

    Raises:
        ValueError: there is none.
    """
    for lever in LEVERS:
        if lever.name == name:
            return lever
    names = ", ".join(lever.name for lever in LEVERS)
    raise ValueError(f"unknown lever {name!r}; choose from {names}")
