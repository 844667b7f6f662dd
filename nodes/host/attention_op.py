"""Attention as one operator that torch.compile calls and does not look into.

Traced, an attention override would run its Python once, at compile time: a ledger would count that
call and no other, and what the compiler cannot trace would split the model into hundreds of graphs.
As an operator, the override runs at every call, within one graph. A CUDA graph, which replays
kernels without their Python, is recorded around it.
"""

from __future__ import annotations

import itertools
from typing import Any

import comfy.ldm.modules.attention as comfy_attention
import torch

OVERRIDE = "optimized_attention_override"

SETTINGS = {
    "attn_precision": None,
    "skip_reshape": False,
    "skip_output_reshape": False,
    "enable_gqa": False,
    "low_precision_attention": True,
    "scale": None,
}
"""What ComfyUI's attention functions take besides q, k, v, heads and mask, with the defaults; the
operator takes them in this order."""

SCHEMA = (
    "(Tensor q, Tensor k, Tensor v, Tensor? mask, str function, int heads, "
    "ScalarType? attn_precision, bool skip_reshape, bool skip_output_reshape, bool enable_gqa, "
    "bool low_precision_attention, float? scale) -> Tensor"
)


class AttentionOperator:
    """An ``optimized_attention_override`` that runs the override of ``options``, or core's choice.

    ``options`` are the transformer options of the model call that goes on; ``operator`` is torch's.
    """

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.operator = torch.library.custom_op(
            f"wattbench::{_free_name()}",
            self._run,
            mutates_args=(),
            schema=SCHEMA,
            tags=(torch.Tag.cudagraph_unsafe,),
        )
        self.operator.register_fake(_shape)

    def __call__(self, func: Any, q: Any, k: Any, v: Any, heads: int, *args: Any, **kw: Any) -> Any:
        """ComfyUI calls ``func(q, k, v, heads, mask=None, ...)``.

        A call with other arguments than :data:`SETTINGS` is left to the compiler.
        """
        given = {**dict(zip(("mask", "attn_precision"), args, strict=False)), **kw}
        given.pop("transformer_options", None)
        given.pop("_inside_attn_wrapper", None)
        mask = given.pop("mask", None)
        name = func.__name__
        if not hasattr(comfy_attention, name) or not given.keys() <= SETTINGS.keys():
            return func(q, k, v, heads, *args, **kw)
        values = {**SETTINGS, **given}.values()
        return self.operator(q, k, v, mask, name, heads, *values)

    def _run(
        self, q: Any, k: Any, v: Any, mask: Any, function: str, heads: int, *values: Any
    ) -> Any:
        """The operator at run time; its output has the strides that :func:`_shape` promises."""
        func = getattr(comfy_attention, function).__wrapped__
        given = zip(SETTINGS, values, strict=True)
        known = {name: value for name, value in given if value != SETTINGS[name]}
        known.update(mask=mask, transformer_options=self.options, _inside_attn_wrapper=True)
        override = self.options.get(OVERRIDE)
        if override is None:
            result = func(q, k, v, heads, **known)
        else:
            result = override(func, q, k, v, heads, **known)
        return result.contiguous()


def is_traceable(options: dict[str, Any]) -> bool:
    """Whether a model call's attention is core's PyTorch function, which compiles as it is."""
    core = comfy_attention.optimized_attention
    return OVERRIDE not in options and core is comfy_attention.attention_pytorch


def _free_name() -> str:
    """A name that is free; the same after every start, so that torch's cache on disk serves."""
    names = (f"attention_{number}" for number in itertools.count())
    return next(name for name in names if not hasattr(torch.ops.wattbench, name))


def _shape(
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    function: str,
    heads: int,
    attn_precision: Any,
    skip_reshape: bool,
    skip_output_reshape: bool,
    enable_gqa: bool,
    low_precision_attention: bool,
    scale: float | None,
) -> Any:
    """An empty tensor of attention's shape: ``[batch, heads, q_len, head_dim]``, or heads flat."""
    batch, q_len = q.shape[0], q.shape[-2]
    head_dim = q.shape[-1] if skip_reshape else q.shape[-1] // heads
    if skip_output_reshape:
        return q.new_empty((batch, heads, q_len, head_dim))
    return q.new_empty((batch, q_len, heads * head_dim))
