"""Where attention calls run: a lane for each shape class, opened by its first call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .ledger import IdleWatch, Ledger, Tally
from .packages import kernel_errors
from .plan import Plan, Planner

if TYPE_CHECKING:
    import torch

    from .plan import Tensors


class Convention(Protocol):
    """How a host program calls its own attention functions."""

    def precision(self, asked: torch.dtype | None, dtype: torch.dtype) -> torch.dtype | None:
        """The dtype of scores that the host makes of what a model asks; ``None`` for open."""
        ...

    def run(
        self,
        function: Callable[..., torch.Tensor],
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        heads: int,
        mask: torch.Tensor | None,
        attn_precision: torch.dtype | None,
        arguments: dict[str, Any],
    ) -> torch.Tensor:
        """What ``function``, which is the host's, makes of a call."""
        ...


@dataclass(frozen=True)
class Lane:
    """A plan ready to run; without a ``kernel`` a function of the host's runs it."""

    plan: Plan
    tally: Tally
    kernel: Callable[..., torch.Tensor] | None


class Lanes:
    """The lanes of one choice. ``latest`` is the one that the latest call ran on.

    ``note`` is what else there is to say of the calls that follow, as what they pass over.

    Args:
        timed: whether to mark the beginning and the end of every call.
        watch: looks how often the device is idle, which settles provisional plans. Without it, they
            are settled at once, by the device's time alone.
    """

    def __init__(
        self,
        planner: Planner,
        ledger: Ledger,
        convention: Convention,
        timed: bool,
        watch: IdleWatch | None = None,
    ) -> None:
        self.timed = timed
        self._convention = convention
        self.call_count = 0
        self.latest: Lane | None = None
        self.note = ""
        self._planner = planner
        self._ledger = ledger
        self._watch = watch
        self._idle: float | None = None
        self._lanes: dict[Any, Lane] = {}

    def attend(
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
        """Run a call as the host makes it; ``function`` is the one that it would run."""
        self.call_count += 1
        if self._watch is not None:
            self._observe(self._watch)
        call = key_of(q, k, v, heads, mask, attn_precision, skip_reshape, kwargs)
        key = (self.note, call)
        lane = self._lanes.get(key)
        if lane is None or lane.kernel is not None:
            grouped = kwargs.get("enable_gqa", False)
            tensors = *with_heads(q, k, v, heads, mask, skip_reshape, grouped), kwargs.get("scale")
            if lane is None:
                asked = self._convention.precision(attn_precision, q.dtype)
                plan = self._planner.plan(function, tensors, asked, kwargs)
                lane = self._lanes[key] = self._open(plan, self.note)
        start = self._ledger.clock.mark() if self.timed else None
        if lane.kernel is None:
            kwargs |= {"skip_reshape": skip_reshape, "skip_output_reshape": skip_output_reshape}
            chosen = lane.plan.function or function
            out = self._convention.run(chosen, q, k, v, heads, mask, attn_precision, kwargs)
        else:
            try:
                out = lane.kernel(*tensors)
            except kernel_errors() as error:
                out, lane = self._after_failure(key, lane, tensors, error)
            if not skip_output_reshape:
                out = without_heads(out)
        if start is not None:
            lane.tally.spans.append((start, self._ledger.clock.mark()))
        lane.tally.call_count += 1
        self.latest = lane
        return out

    def known(self, key: Any) -> Lane | None:
        """The lane of the shape class ``key`` (:func:`key_of`), if a call has opened it."""
        return self._lanes.get(("", key))

    def _after_failure(
        self, key: Any, lane: Lane, tensors: Tensors, error: Exception
    ) -> tuple[torch.Tensor, Lane]:
        """The result of what replaces a kernel that raised, and the lane that it ran on."""
        while True:
            plan = self._planner.after_failure(lane.plan, tensors, error)
            lane = self._lanes[key] = self._open(plan, key[0])
            if lane.kernel is None:
                raise error
            try:
                return lane.kernel(*tensors), lane
            except kernel_errors() as another:
                error = another

    def _observe(self, watch: IdleWatch) -> None:
        """Look whether the device is idle; once that is known, settle what was provisional."""
        watch.note()
        if watch.part is None:
            return
        self._idle, self._watch = watch.part, None
        for key, lane in self._lanes.items():
            if lane.plan.trials:
                self._lanes[key] = self._open(lane.plan, key[0])

    def _open(self, plan: Plan, note: str) -> Lane:
        if plan.trials and self._watch is None:
            plan = self._planner.settle(plan, self._idle)
        elif plan.trials and self._watch is not None:
            self._watch.restart()
        kernel = plan.backend.kernel if plan.backend else None
        reason = "; ".join(filter(None, (plan.reason, note)))
        return Lane(plan, self._ledger.tally(plan.executed, reason), kernel)


def key_of(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    heads: int,
    mask: torch.Tensor | None,
    attn_precision: torch.dtype | None,
    has_heads: bool,
    arguments: dict[str, Any],
) -> Any:
    """The shape class of a call in its host's own terms, to be looked up at every call."""
    return (
        *(q.shape, k.shape, v.shape, q.dtype, heads, attn_precision, has_heads),
        None if mask is None else (mask.shape, mask.dtype),
        *arguments,
        arguments.get("scale"),
        arguments.get("enable_gqa"),
        arguments.get("low_precision_attention"),
    )


def with_heads(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    heads: int,
    mask: torch.Tensor | None,
    has_heads: bool,
    grouped: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Tensors of a host's attention call in the layout HND.

    ComfyUI and Forge give ``[batch, tokens, heads * head_dim]``, or HND where they
    ``skip_reshape``; some models of ComfyUI give k and v as ``[batch, tokens, heads, head_dim]``. A
    mask may lack the dimensions of
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


def without_heads(out: torch.Tensor) -> torch.Tensor:
    """``[batch, tokens, heads * head_dim]`` of a result in the layout HND."""
    return out.transpose(1, 2).reshape(out.shape[0], out.shape[2], -1)
