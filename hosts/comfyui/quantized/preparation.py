"""What a request makes of the tensors of files, before ComfyUI builds a model of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ....quant.formats import find
from ....quant.formats.plain import Plain
from ....quant.layers import LayerRules
from ....quant.stored import StoredLayer
from ..new_files import shown_progress
from .ledger import LinearLedger
from .operations import quantized_operations
from .reading import StateDict
from .state_dicts import WEIGHT, main_format, quantize_layers, wrap_stored

AS_STORED = "as stored"
"""The choice that takes a file's own formats and quantizes nothing."""

COMPUTE_DTYPES = {
    "auto": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}


@dataclass(frozen=True)
class Request:
    """How to quantize: a format's name or :data:`AS_STORED`, a compute dtype, and patterns.

    ``layers`` is as :meth:`..quant.layers.LayerRules.parse` reads it; ``input_scales`` are those of
    a calibration, by layer, for the layers that become ``fp8_static``.
    """

    format: str
    compute_dtype: str = "auto"
    layers: str = ""
    input_scales: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format != AS_STORED:
            find(self.format)
        if self.compute_dtype not in COMPUTE_DTYPES:
            names = ", ".join(COMPUTE_DTYPES)
            raise ValueError(f"unknown dtype {self.compute_dtype!r}; choose one of {names}")


@dataclass(frozen=True)
class Prepared:
    """What a model is built with; a dtype is ``None`` where it is left to ComfyUI.

    ``operations``, ``ledger`` and ``weight_format`` are there where a layer is quantized.
    """

    compute_dtype: torch.dtype | None
    weight_dtype: torch.dtype | None = None
    operations: Any = None
    ledger: LinearLedger | None = None
    weight_format: str = ""


@dataclass(frozen=True)
class Part:
    """Tensors that become a model's: ``layers`` are those that a file held quantized.

    ``linears`` are the names of the model's linear layers; ``None`` where it was not asked.
    """

    tensors: StateDict
    layers: Mapping[str, StoredLayer] = field(default_factory=dict)
    linears: frozenset[str] | None = None


def prepare(
    parts: Sequence[Part],
    request: Request,
    device: torch.device,
    default_dtype: torch.dtype,
    owner: str = "",
) -> Prepared:
    """Wrap what is quantized in ``parts``, in place, and quantize in the others what is asked for.

    Args:
        device: on which layers are quantized, and the model will compute.
        default_dtype: to compute in where the request leaves that open.
        owner: of the layers in tables, for example ``text``; empty for a diffusion model. Only a
            diffusion model has its activations quantized.

    Raises:
        ValueError: a part is quantized already in another format, or no layer can become what is
            asked for.
        WeightRangeError: a layer holds infinities or NaN.
    """
    wanted = None if request.format == AS_STORED else find(request.format)
    chosen = COMPUTE_DTYPES[request.compute_dtype]
    dtype = chosen or default_dtype
    _warn_of_unmatched(parts, request)
    count = 0
    for part in parts:
        rules = replace(LayerRules.parse(request.layers), linears=part.linears)
        held = wrap_stored(part.tensors, part.layers, dtype, wanted, rules)
        if wanted is not None and wanted.is_quantized and not held:
            held = quantize_layers(part.tensors, wanted, rules, dtype, device, shown_progress())
        count += held
    if isinstance(wanted, Plain):
        return Prepared(chosen or wanted.dtype, wanted.dtype)
    if not count and wanted is not None:
        raise ValueError(
            f"no layer can become {wanted.name}: all matrices stay in high precision by the "
            "patterns or do not fit the format. Choose another format, or keep fewer layers."
        )
    if not count:
        return Prepared(chosen)
    ledger = LinearLedger(owner)
    operations = quantized_operations(dtype, device, ledger, weight_only=bool(owner))
    held_in = main_format([part.layers for part in parts]) if wanted is None else wanted.name
    return Prepared(dtype, None, operations, ledger, held_in)


def _warn_of_unmatched(parts: Sequence[Part], request: Request) -> None:
    names = [key.removesuffix(WEIGHT) for part in parts for key in part.tensors]
    for pattern in LayerRules.parse(request.layers).unmatched(names):
        logging.warning("WattBench: the pattern %s matches no layer of this model", pattern)
