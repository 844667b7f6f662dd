"""State dicts, in place: layers that a file holds quantized are wrapped, others quantized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import comfy_kitchen
import torch
from comfy.quant_ops import QuantizedTensor

from ....offer import Machine
from ....quant.base import CONFIG, Execution, Format, decode_config, encode_config
from ....quant.layers import LayerRules, Quantized, is_table, quantize_layer
from ....quant.stored import format_name, format_of
from .layout import FIELDS, wrap

WEIGHT = ".weight"

ARITHMETIC_KEYS = ("format", "full_precision_matrix_mult", "activation_scale")
"""What a layer's configuration says of the product and not of the stored numbers."""

StateDict = dict[str, Any]


def main_format(parts: Sequence[StateDict]) -> str:
    """The format of most quantized weights; ComfyUI's name where it is none of ours."""
    sizes: Counter[str] = Counter()
    for tensors in parts:
        for name in _configured(tensors):
            config = decode_config(tensors[f"{name}.{CONFIG}"])
            stored_as = format_name(config, f"{name}.input_scale" in tensors)
            sizes[stored_as] += tensors[f"{name}{WEIGHT}"].numel()
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
    tensors: StateDict, dtype: torch.dtype, wanted: Format | None, rules: LayerRules
) -> int:
    """Wrap, in place, the layers of ``tensors`` that are stored in a format of ours.

    Embeddings are left to ComfyUI, which looks up in them as they are stored. ``wanted`` may choose
    another arithmetic for numbers that are stored the same way, as ``fp8``
    for a file of ``fp8_w``; ``None`` takes the file's.

    Returns:
        How many layers the file holds quantized, in our formats or in ComfyUI's.

    Raises:
        ValueError: a layer's tensors are incomplete, or no layer is stored as ``wanted`` needs.
    """
    names = _configured(tensors)
    fitting, found = 0, set()
    for name in names:
        config = decode_config(tensors[f"{name}.{CONFIG}"])
        has_input_scale = f"{name}.input_scale" in tensors
        stored_as = format_of(config, has_input_scale)
        found.add(format_name(config, has_input_scale))
        if f"{name}{WEIGHT}" not in tensors:
            raise _incomplete(name, "weight")
        if stored_as is None or is_table(name):
            continue
        chosen = stored_as
        if wanted is not None and _same_numbers(stored_as, wanted):
            chosen = _arithmetic(name, tensors[f"{name}{WEIGHT}"], stored_as, wanted, rules)
            fitting += 1
        _wrap_layer(tensors, name, chosen, config, dtype)
    if names and wanted is not None and not fitting:
        raise ValueError(
            f"the file is already quantized ({', '.join(sorted(found))}), and {wanted.name} stores "
            "other numbers. Choose `as stored`, or quantize the original file."
        )
    return len(names)


def _configured(tensors: StateDict) -> list[str]:
    """The layers that are stored in a format, ours or ComfyUI's."""
    return [key.removesuffix(f".{CONFIG}") for key in tensors if key.endswith(f".{CONFIG}")]


def _same_numbers(stored_as: Format, wanted: Format) -> bool:
    return stored_as == wanted or (wanted.stock is not None and stored_as.stock == wanted.stock)


def _arithmetic(
    name: str, weight: torch.Tensor, stored_as: Format, wanted: Format, rules: LayerRules
) -> Format:
    """The format that ``wanted`` means for this layer, if it stores the numbers that are there."""
    decision = rules.decide(name, stored_as.shape({"weight": weight}), wanted)
    if isinstance(decision, Quantized) and _same_numbers(stored_as, decision.format):
        return decision.format
    return stored_as


def _wrap_layer(
    tensors: StateDict, name: str, chosen: Format, config: dict[str, Any], dtype: torch.dtype
) -> None:
    stored = {
        suffix: tensors.pop(f"{name}.{suffix}")
        for suffix in ("weight", *FIELDS)
        if f"{name}.{suffix}" in tensors
    }
    changed = {k: v for k, v in config.items() if k not in ARITHMETIC_KEYS}
    stored[CONFIG] = encode_config({**chosen.config(chosen.shape(stored)), **changed})
    try:
        tensors[f"{name}{WEIGHT}"] = wrap(chosen, stored, dtype)
    except KeyError as error:
        raise _incomplete(name, error.args[0]) from error
    tensors[f"{name}.{CONFIG}"] = stored[CONFIG]


def _incomplete(name: str, missing: str) -> ValueError:
    return ValueError(f"layer {name} has no {missing}: the file is incomplete. Get it again.")


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
                tensors[f"{name}{WEIGHT}"] = wrap(decision.format, stored, dtype)
                tensors[f"{name}.{CONFIG}"] = config
                quantized += 1
        progress(done + 1, len(names))
    return quantized
