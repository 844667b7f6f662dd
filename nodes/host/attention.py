"""The attention of one MODEL's clone: ComfyUI's override, and the ledger of what ran."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.ldm.modules.attention as comfy_attention
import torch

from ...attention import BACKENDS
from ...attention.auto import kernel_errors
from ...attention.choices import Choices
from ...attention.ledger import IdleWatch, Ledger, Tally, clock_of
from ...measure.records import KernelCalls
from ...offer import Machine, machine_of
from .attention_plan import AUTO, COMFYUI, PREFIX, Plan, Planner, Setting, Tensors
from .ledgers import attach_ledger

Kernel = Callable[..., torch.Tensor]

OVERRIDE = "optimized_attention_override"
"""ComfyUI's one slot in ``transformer_options`` for a function that computes attention."""

LEDGER = "attention"
CORE_FUNCTIONS = ("pytorch", "sub_quad", "split", "sage", "sage3", "flash", "xformers")
"""Those that ComfyUI registers where their packages are installed."""

UNCOVERED = "the model made no attention call that the choice could reach"
PASSED_OVER = "another node's override computed the call itself"


def attention_choices() -> list[str]:
    """Every name that can be asked for; the same on every machine, and what nodes registered."""
    registered = comfy_attention.REGISTERED_ATTENTION_FUNCTIONS
    core = dict.fromkeys((*CORE_FUNCTIONS, *registered))
    return [AUTO, COMFYUI, *(b.name for b in BACKENDS), *(PREFIX + name for name in core)]


def choose_attention(model: Any, setting: Setting, choices: Choices) -> Any:
    """A clone of ``model`` whose attention is computed as ``setting`` says, and counted.

    Another node's override stays: it is called first, and what it hands on is computed here. An
    override of this function is replaced.
    """
    clone = model.clone()
    options = clone.model_options.setdefault("transformer_options", {})
    previous = options.get(OVERRIDE)
    if isinstance(previous, Override):
        previous = previous.previous
    override = Override(setting, machine_of(clone.load_device), choices, previous)
    options[OVERRIDE] = override
    attach_ledger(clone, LEDGER, override)
    return clone


def override_of(model: Any) -> Override | None:
    """This pack's override of a MODEL, if it has one that is called first."""
    override = model.model_options.get("transformer_options", {}).get(OVERRIDE)
    return override if isinstance(override, Override) else None


@dataclass(frozen=True)
class _Lane:
    """A plan ready to run; without a ``kernel`` a function of ComfyUI's runs it."""

    plan: Plan
    tally: Tally
    kernel: Kernel | None


class Override:
    """What ComfyUI calls in place of its attention function, and the ledger of its calls."""

    def __init__(
        self,
        setting: Setting,
        machine: Machine,
        choices: Choices,
        previous: Callable[..., torch.Tensor] | None = None,
    ) -> None:
        self.setting = setting
        self.machine = machine
        self.previous = previous
        self._planner = Planner(setting, machine, choices)
        self._ledger = Ledger(setting.requested, clock_of(machine.kind))
        self._lanes: dict[Any, _Lane] = {}
        self._reached = 0
        may_wait = setting.requested == AUTO and machine.kind == "cuda"
        self._watch = IdleWatch() if may_wait else None
        self._idle = 0.0
        self._eagerly = torch.compiler.disable(self._attend)

    @property
    def decisions(self) -> dict[str, str]:
        """What runs the calls of each shape class met so far, and why."""
        return self._planner.decisions

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """ComfyUI calls ``(function, q, k, v, heads, mask, attn_precision, ...)``."""
        attend = self._eagerly if torch.compiler.is_compiling() else self._attend
        if self.previous is None:
            return attend(function, *args, **kwargs)
        reached = self._reached
        out = self.previous(partial(attend, function), *args, **kwargs)
        if self._reached == reached:
            name = getattr(self.previous, "__qualname__", type(self.previous).__name__)
            self._ledger.tally(f"override {name}", PASSED_OVER).call_count += 1
        return out

    def clear(self) -> None:
        """Forget the calls that were counted; the kernels stay chosen."""
        self._ledger.clear()

    def read(self) -> list[KernelCalls]:
        """The calls since the ledger was cleared; one that says so where there were none."""
        counts = self._ledger.read()
        if not counts:
            return [KernelCalls("attention", self.setting.requested, "none", 0, None, UNCOVERED)]
        return [
            KernelCalls("attention", c.requested, c.executed, c.call_count, c.duration_s, c.reason)
            for c in counts
        ]

    def _attend(
        self,
        function: Callable[..., torch.Tensor],
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        heads: int,
        mask: torch.Tensor | None = None,
        attn_precision: torch.dtype | None = None,
        skip_reshape: bool = False,
        skip_output_reshape: bool = False,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Run a call on its lane, which the first call of a shape class opens."""
        self._reached += 1
        if self._watch is not None:
            self._observe(self._watch)
        scale = kwargs.get("scale")
        grouped = kwargs.get("enable_gqa", False)
        tensors = *_with_heads(q, k, v, heads, mask, skip_reshape, grouped), scale
        key = (
            *(q.shape, k.shape, v.shape, q.dtype, heads, attn_precision, scale, skip_reshape),
            None if mask is None else (mask.shape, mask.dtype),
            *(*kwargs, grouped, kwargs.get("low_precision_attention")),
        )
        lane = self._lanes.get(key)
        if lane is None:
            plan = self._planner.plan(function, tensors, attn_precision, kwargs)
            lane = self._lanes[key] = self._open(plan)
        start = self._ledger.clock.mark() if self.setting.timed else None
        if lane.kernel is None:
            kwargs |= {"skip_reshape": skip_reshape, "skip_output_reshape": skip_output_reshape}
            kwargs["_inside_attn_wrapper"] = True
            out = (lane.plan.function or function)(q, k, v, heads, mask, attn_precision, **kwargs)
        else:
            out, lane = self._compute(key, lane, lane.kernel, tensors)
            if not skip_output_reshape:
                out = out.transpose(1, 2).reshape(out.shape[0], out.shape[2], -1)
        if start is not None:
            lane.tally.spans.append((start, self._ledger.clock.mark()))
        lane.tally.call_count += 1
        return out

    def _compute(
        self, key: Any, lane: _Lane, kernel: Kernel, tensors: Tensors
    ) -> tuple[torch.Tensor, _Lane]:
        """The result, and the lane that it was computed on: a kernel that raises is replaced."""
        while True:
            try:
                return kernel(*tensors), lane
            except kernel_errors() as error:
                plan = self._planner.after_failure(lane.plan, tensors, error)
                lane = self._lanes[key] = self._open(plan)
                kernel = lane.kernel or kernel

    def _observe(self, watch: IdleWatch) -> None:
        """Look whether the device is idle; once that is known, settle what was provisional."""
        watch.note()
        if watch.part is None:
            return
        self._idle, self._watch = watch.part, None
        for key, lane in self._lanes.items():
            if lane.plan.trials:
                self._lanes[key] = self._open(lane.plan)

    def _open(self, plan: Plan) -> _Lane:
        if plan.trials and self._watch is None:
            plan = self._planner.settle(plan, self._idle)
        elif plan.trials and self._watch is not None:
            self._watch.restart()
        kernel = plan.backend.kernel if plan.backend else None
        return _Lane(plan, self._ledger.tally(plan.executed, plan.reason), kernel)


def _with_heads(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    heads: int,
    mask: torch.Tensor | None,
    has_heads: bool,
    grouped: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Tensors of ComfyUI's attention in the layout HND.

    ComfyUI gives ``[batch, tokens, heads * head_dim]``, or HND where it ``skip_reshape``; some
    models give k and v as ``[batch, tokens, heads, head_dim]``. Its mask may lack the dimensions of
    heads and batch.
    """
    if not has_heads:
        batch, _, width = q.shape
        head_dim = width // heads
        q = q.reshape(batch, -1, heads, head_dim).transpose(1, 2)
        kv_heads = k.shape[-1] // head_dim if grouped else heads
        k = k.reshape(batch, -1, kv_heads, head_dim).transpose(1, 2)
        v = v.reshape(batch, -1, kv_heads, head_dim).transpose(1, 2)
    if mask is not None:
        if mask.ndim == 2:
            mask = mask.unsqueeze(0)
        if mask.ndim == 3:
            mask = mask.unsqueeze(1)
    return q, k, v, mask
