"""A report on the weights of a MODEL as they lie in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from comfy.quant_ops import QuantizedTensor

from ....quant.report import NO_REFERENCE, LayerReport, QuantReport, with_errors
from ..describe import describe_model, dtype_name
from .ledger import linear_ledger
from .operations import Layer


def report_model(model: Any, reference: Any | None) -> QuantReport:
    """Report on the diffusion model of ``model``.

    LoRAs that are not merged into the weights are left out.

    Args:
        reference: the MODEL that it was made of, or another of the same architecture.
    """
    originals = {} if reference is None else dict(_weights(reference))
    calls = _calls(model)
    rows = [
        replace(_row(name, module, originals), **calls.get(name, {}))
        for name, module in _weights(model)
    ]
    sizes = [_nbytes(p) for p in model.model.diffusion_model.parameters()]
    other = sum(sizes) - sum(row.stored_bytes for row in rows)
    return QuantReport(
        _name(model), "" if reference is None else _name(reference), tuple(rows), other
    )


def _name(model: Any) -> str:
    identity = describe_model(model)
    return identity.model or identity.architecture


def _weights(model: Any) -> Iterator[tuple[str, Any]]:
    """Modules whose weight has two or more dimensions, by name."""
    for name, module in model.model.diffusion_model.named_modules():
        weight = module._parameters.get("weight")
        if weight is not None and weight.ndim >= 2:
            yield name, module


def _row(name: str, module: Any, originals: dict[str, Any]) -> LayerReport:
    weight = module.weight
    quantized = isinstance(weight, QuantizedTensor) or weight.dtype.itemsize == 1
    row = LayerReport(
        name,
        format_name(module),
        quantized,
        tuple(weight.shape),
        _nbytes(weight),
        note="" if not quantized else NO_REFERENCE,
    )
    if not originals:
        return row
    if name not in originals:
        return replace(row, note="the reference has no such layer")
    original = originals[name].weight
    if original.shape != weight.shape:
        return replace(row, note=f"the reference's shape is {tuple(original.shape)}")
    return with_errors(row, _plain(original), _plain(weight))


def format_name(module: Any) -> str:
    """Our name of a layer's format, else ComfyUI's, else the dtype's."""
    layer = getattr(module, "layer", None)
    if isinstance(layer, Layer) and layer.format is not None:
        return layer.format.name
    quantized = getattr(module, "quant_format", None)
    return str(quantized or dtype_name(module.weight.dtype))


def _plain(weight: torch.Tensor) -> torch.Tensor:
    """On the CPU, in fp32."""
    weight = weight.detach()
    if isinstance(weight, QuantizedTensor):
        weight = weight.dequantize()
    return weight.to("cpu", torch.float32)


def _nbytes(weight: torch.Tensor) -> int:
    if not isinstance(weight, QuantizedTensor):
        return weight.nbytes
    return sum(tensor.nbytes for tensor in weight.state_dict("").values())


def _calls(model: Any) -> dict[str, dict[str, Any]]:
    """How each layer's products were computed since the ledger was cleared."""
    ledger = linear_ledger(model)
    counts: dict[str, Counter[str]] = {}
    for calls in [] if ledger is None else ledger.layer_calls():
        counts.setdefault(calls.layer, Counter())[calls.execution.kind] += calls.call_count
    return {
        layer: {"executed": " + ".join(sorted(kinds)), "call_count": kinds.total()}
        for layer, kinds in counts.items()
    }
