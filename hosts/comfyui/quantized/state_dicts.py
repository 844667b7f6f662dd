"""State dicts, in place: layers that a file holds quantized are wrapped, others quantized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import prod

import comfy_kitchen
import torch
from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor

from ....offer import Machine
from ....quant.base import CONFIG, Execution, Format, encode_config
from ....quant.files import FileError
from ....quant.layers import LayerRules, Quantized, is_table, quantize_layer
from ....quant.stored import StoredLayer
from .layout import FIELDS, wrap
from .reading import StateDict

WEIGHT = ".weight"

CORE_ARITHMETIC = ("mxfp8", "nvfp4", "w4a8")
"""Formats whose layers ComfyUI loads and computes by itself."""

ARITHMETIC_KEYS = ("format", "full_precision_matrix_mult", "activation_scale")
"""What a layer's configuration says of the product and not of the stored numbers."""


def main_format(parts: Sequence[Mapping[str, StoredLayer]]) -> str:
    """The format of most quantized weights; ComfyUI's name where it is none of ours."""
    sizes: Counter[str] = Counter()
    for layers in parts:
        for layer in layers.values():
            sizes[layer.format_name] += prod(layer.shape)
    return sizes.most_common(1)[0][0]


def execution_of(weight_format: Format, machine: Machine) -> Execution:
    """As the format says, and as the kernels that are installed allow."""
    execution = weight_format.execution(machine)
    if weight_format.name == "int4_gemm" and machine.kind == "cuda":
        name = "hip" if machine.gfx else "cuda"
        backend = comfy_kitchen.list_backends()[name]
        if not backend["available"] or backend["disabled"]:
            why = backend["unavailable_reason"] or "ComfyUI uses it from CUDA 13 on"
            reason = f"comfy-kitchen's backend {name} is not available: {why}"
            return Execution("emulated", "eager", reason)
    return execution


def wrap_stored(
    tensors: StateDict,
    layers: Mapping[str, StoredLayer],
    dtype: torch.dtype,
    wanted: Format | None,
    rules: LayerRules,
) -> int:
    """Wrap, in place, the layers of ``tensors`` that are stored in a format of ours.

    A weight that no linear layer holds is widened: nothing would multiply by its scale. Embeddings
    are left to ComfyUI, which looks up in them as they are stored. ``wanted`` may choose another
    arithmetic for numbers that are stored the same way, as ``fp8`` for a file of ``fp8_w``;
    ``None`` takes the file's.

    Args:
        layers: what the file holds quantized, by the names of ``tensors``.

    Returns:
        How many layers stay quantized, in our formats or in ComfyUI's.

    Raises:
        ValueError: no layer is stored as ``wanted`` needs.
        FileError: a layer that is no linear one is stored in a way that cannot be widened, or a
            format is ComfyUI's own and newer than the installed one.
    """
    fitting, count, found = 0, 0, set()
    for name, layer in layers.items():
        found.add(layer.format_name)
        if is_table(name):
            count += 1
            continue
        is_linear = rules.linears is None or name in rules.linears
        if not is_linear or len(layer.shape) != 2:
            _widen_layer(tensors, name, layer, dtype)
            continue
        count += 1
        stock = layer.config["format"]
        is_cores = layer.format is None or layer.format.name in CORE_ARITHMETIC
        if is_cores and stock not in QUANT_ALGOS:
            raise FileError(
                f"layer {name} is stored as {stock}, which this ComfyUI does not know: update it"
            )
        if layer.format is None or layer.format.name in CORE_ARITHMETIC:
            fitting += layer.format is not None and layer.format == wanted
            continue
        chosen = layer.format
        if wanted is not None and _same_numbers(layer.format, wanted):
            chosen = _arithmetic(name, layer.shape, layer.format, wanted, rules)
            fitting += 1
        _wrap_layer(tensors, name, chosen, layer, dtype)
    if count and wanted is not None and not fitting:
        raise ValueError(
            f"the file is already quantized ({', '.join(sorted(found))}), and {wanted.name} stores "
            "other numbers. Choose `as stored`, or quantize the original file."
        )
    return count


def _widen_layer(tensors: StateDict, name: str, layer: StoredLayer, dtype: torch.dtype) -> None:
    del tensors[f"{name}.{CONFIG}"]
    stored = {role: tensors.pop(f"{name}.{role}") for role in layer.tensors if role != CONFIG}
    tensors[f"{name}{WEIGHT}"] = layer.widened(stored, dtype)


def _same_numbers(stored_as: Format, wanted: Format) -> bool:
    return stored_as == wanted or (wanted.stock is not None and stored_as.stock == wanted.stock)


def _arithmetic(
    name: str, shape: tuple[int, ...], stored_as: Format, wanted: Format, rules: LayerRules
) -> Format:
    """The format that ``wanted`` means for this layer, if it stores the numbers that are there."""
    decision = rules.decide(name, shape, wanted)
    if isinstance(decision, Quantized) and _same_numbers(stored_as, decision.format):
        return decision.format
    return stored_as


def _wrap_layer(
    tensors: StateDict, name: str, chosen: Format, layer: StoredLayer, dtype: torch.dtype
) -> None:
    stored = {
        role: tensors.pop(f"{name}.{role}")
        for role in ("weight", *FIELDS)
        if f"{name}.{role}" in tensors
    }
    changed = {k: v for k, v in layer.config.items() if k not in ARITHMETIC_KEYS}
    stored[CONFIG] = encode_config({**chosen.config(layer.shape), **changed})
    tensors[f"{name}{WEIGHT}"] = wrap(chosen, stored, dtype, layer.shape)
    tensors[f"{name}.{CONFIG}"] = stored[CONFIG]


def quantize_layers(
    tensors: StateDict,
    wanted: Format,
    rules: LayerRules,
    dtype: torch.dtype,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> int:
    """Quantize, in place and layer by layer, the weights that ``rules`` select.

    A layer is computed on ``device`` and goes back to where it was, so the peak of memory is the
    result and one layer.

    Returns:
        How many layers were quantized.

    Raises:
        WeightRangeError: a layer holds infinities or NaN; the message names it.
    """
    if wanted.name in CORE_ARITHMETIC and wanted.stock not in QUANT_ALGOS:
        raise ValueError(f"this ComfyUI does not compute {wanted.name} ({wanted.stock}): update it")
    names = [key.removesuffix(WEIGHT) for key in tensors if key.endswith(WEIGHT)]
    quantized = 0
    for done, name in enumerate(names):
        weight = tensors[f"{name}{WEIGHT}"]
        if not isinstance(weight, QuantizedTensor) and weight.is_floating_point():
            decision = rules.decide(name, tuple(weight.shape), wanted)
            if isinstance(decision, Quantized) and decision.format.is_quantized:
                home = weight.device
                stored = quantize_layer(name, weight.to(device), decision.format)
                config = stored[CONFIG]
                stored = {suffix: tensor.to(home) for suffix, tensor in stored.items()}
                if decision.format.name in CORE_ARITHMETIC:
                    tensors.update({f"{name}.{suffix}": made for suffix, made in stored.items()})
                else:
                    tensors[f"{name}{WEIGHT}"] = wrap(decision.format, stored, dtype)
                tensors[f"{name}.{CONFIG}"] = config
                quantized += 1
        progress(done + 1, len(names))
    return quantized
