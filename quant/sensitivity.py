"""Which layers lose most in a format: those that are worth their bytes in high precision.

A layer's loss is the power of its errors over that of its ordinary weights, told by their median
magnitude. Over the power of all weights one large outlier would hide what it does to the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from .base import Format
from .fidelity import compare
from .files import WIDE, TensorFile
from .layers import LayerRules, Quantized, quantize_layer
from .stored import StoredLayer

MEDIAN = 0.6745
"""The median magnitude of normal numbers, over their standard deviation."""


def sensitive_layers(
    file: TensorFile,
    layers: Iterable[StoredLayer],
    wanted: Format,
    rules: LayerRules,
    share: float,
) -> frozenset[str]:
    """The layers to keep: those that lose most, the worst first.

    Each layer is quantized and read back, in the memory of one layer. Layers are kept as long as
    they hold no more than ``share`` of the weights that the format would take; none for 0.

    Raises:
        WeightRangeError: a layer holds infinities or NaN; the message names it.
    """
    import torch

    if not share:
        return frozenset()
    losses: list[tuple[float, str, int]] = []
    for layer in layers:
        decision = rules.decide(layer.name, layer.shape, wanted)
        if not isinstance(decision, Quantized) or layer.tensors["weight"].dtype not in WIDE:
            continue
        weight = layer.weight(file, torch.float32)
        made = quantize_layer(layer.name, weight, decision.format)
        found = compare(weight, decision.format.dequantize(made, torch.float32))
        typical = (float(weight.abs().median()) / MEDIAN) ** 2 * prod(layer.shape)
        loss = found.noise / (typical or found.signal or 1.0)
        losses.append((loss, layer.name, prod(layer.shape)))
    allowed = share * sum(count for _, _, count in losses)
    kept: set[str] = set()
    for _, name, count in sorted(losses, reverse=True):
        if count <= allowed:
            kept.add(name)
            allowed -= count
    return frozenset(kept)
