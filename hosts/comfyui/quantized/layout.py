"""Our formats as ComfyUI's quantized tensors, so that loading, moving and patching just work.

Formats that ComfyUI's arithmetic knows take its own layouts. The others take one layout of ours,
whose tensors are what the file holds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from comfy.quant_ops import (
    QUANT_ALGOS,
    QuantizedLayout,
    QuantizedTensor,
    get_layout_class,
    register_layout_class,
)
from comfy_kitchen.tensor.base import BaseLayoutParams

from ....quant.base import CONFIG, Format, Tensors, decode_config
from ....quant.formats import find
from ....quant.formats.fp8 import Fp8

LAYOUT = "WattBenchLayout"

FIELDS = {
    "weight_scale": "scale",
    "weight_nested_scale": "nested_scale",
    "weight_nested_offset": "nested_offset",
}
"""Suffixes of stored tensors and the fields of :class:`WattBenchLayout.Params` that hold them."""


class WattBenchLayout(QuantizedLayout):
    """The layout of formats that are widened before they are computed with."""

    @dataclass(frozen=True)
    class Params(BaseLayoutParams):
        """``format_name`` names the format; a tensor that it does not have is ``None``."""

        format_name: str = ""
        nested_scale: torch.Tensor | None = None
        nested_offset: torch.Tensor | None = None

        def _tensor_fields(self) -> list[str]:
            return [name for name in FIELDS.values() if getattr(self, name) is not None]

    @classmethod
    def quantize(
        cls, tensor: torch.Tensor, *, format_name: str, **options: Any
    ) -> tuple[torch.Tensor, Params]:
        """Called when a LoRA is merged; our formats round to the nearest, whatever is asked."""
        stored = find(format_name).quantize(tensor)
        return stored["weight"], _params(find(format_name), stored, tensor.dtype, tensor.shape)

    @classmethod
    def dequantize(cls, qdata: torch.Tensor, params: Params) -> torch.Tensor:
        stored = {"weight": qdata, **_scales(params)}
        wide = find(params.format_name).dequantize(stored, params.orig_dtype)
        return wide.reshape(params.orig_shape)

    @classmethod
    def get_plain_tensors(cls, qtensor: Any) -> tuple[torch.Tensor, ...]:
        return (qtensor._qdata, *_scales(qtensor._params).values())

    @classmethod
    def state_dict_tensors(cls, qdata: torch.Tensor, params: Params) -> dict[str, torch.Tensor]:
        scales = {name.removeprefix("weight"): t for name, t in _scales(params).items()}
        return {"": qdata, **scales}

    @classmethod
    def requantize_kwargs(cls, qtensor: Any) -> dict[str, object]:
        return {"format_name": qtensor._params.format_name}


def _scales(params: WattBenchLayout.Params) -> dict[str, torch.Tensor]:
    named = {suffix: getattr(params, field) for suffix, field in FIELDS.items()}
    return {suffix: tensor for suffix, tensor in named.items() if tensor is not None}


def wrap(
    weight_format: Format,
    stored: Tensors,
    dtype: torch.dtype,
    shape: tuple[int, ...] | None = None,
) -> Any:
    """A layer's stored tensors as one quantized tensor ``[out, in]`` that computes in ``dtype``.

    ComfyUI's layouts have one scale, for int8 a scale per row; FP8 of others with more takes ours.

    Args:
        shape: of the weight, where its tensors do not tell it.

    Raises:
        KeyError: a tensor of the format is missing.
    """
    shape = shape or weight_format.shape(stored)
    if weight_format.stock_layout and not _has_many_scales(weight_format, stored):
        return _wrap_stock(weight_format, stored, dtype)
    register_layout_class(LAYOUT, WattBenchLayout)
    params = _params(weight_format, stored, dtype, shape)
    return QuantizedTensor(stored["weight"], LAYOUT, params)


def _params(
    weight_format: Format, stored: Tensors, dtype: torch.dtype, shape: Sequence[int]
) -> WattBenchLayout.Params:
    fields = {field: stored[suffix] for suffix, field in FIELDS.items() if suffix in stored}
    return WattBenchLayout.Params(
        **{"scale": None, **fields},
        orig_dtype=dtype,
        orig_shape=tuple(shape),
        format_name=weight_format.name,
    )


def _has_many_scales(weight_format: Format, stored: Tensors) -> bool:
    return isinstance(weight_format, Fp8) and stored["weight_scale"].numel() > 1


def _wrap_stock(weight_format: Format, stored: Tensors, dtype: torch.dtype) -> Any:
    layout_name = QUANT_ALGOS[str(weight_format.stock)]["comfy_tensor_layout"]
    layout = get_layout_class(layout_name)
    options = {field.name for field in dataclasses.fields(layout.Params)}
    config = decode_config(stored[CONFIG])
    params = layout.Params(
        scale=stored["weight_scale"],
        orig_dtype=dtype,
        orig_shape=weight_format.shape(stored),
        **{name: value for name, value in config.items() if name in options},
    )
    return QuantizedTensor(stored["weight"], layout_name, params)
