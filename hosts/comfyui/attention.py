"""The attention of one MODEL's clone: ComfyUI's override, and the ledger of what ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import comfy.ldm.modules.attention as comfy_attention
import torch
from comfy.controlnet import T2IAdapter
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY

from ...attention import BACKENDS
from ...attention.choices import Choices
from ...attention.lanes import Lanes
from ...attention.ledger import IdleWatch, Ledger, clock_of
from ...attention.plan import AUTO, COMFYUI, PREFIX, Planner, Setting, core_name
from ...offer import Machine, machine_of
from ...records import KernelCalls
from .attention_preferred import PASSED_OVER as NOT_AS_PREFERRED
from .attention_preferred import preferred_function, prefers_attention, wrapper_code
from .ledgers import attach_ledger, ledgers_of

OVERRIDE = "optimized_attention_override"
"""ComfyUI's one slot in ``transformer_options`` for a function that computes attention."""

LEDGER = "attention"
KEY = "wattbench_attention"
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
    clone.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, KEY)
    clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, override.outer_sample)
    attach_ledger(clone, LEDGER, override)
    return clone


def override_of(model: Any) -> Override | None:
    """This pack's override of a MODEL, if it was given one; another node's may come before it."""
    return next((o for _, o in ledgers_of(model).by_name if isinstance(o, Override)), None)


def override_name(override: Any) -> str:
    """Another node's override, by what its code calls it."""
    return f"override {getattr(override, '__qualname__', type(override).__name__)}"


def own_name(function: Callable[..., torch.Tensor]) -> str:
    """The name under which ComfyUI registered an attention function of its own."""
    return core_name(function, comfy_attention.REGISTERED_ATTENTION_FUNCTIONS)


def out_of_reach(guider: Any) -> Iterator[str]:
    """What computes attention in a sampling of ComfyUI's ``guider`` and does not ask what with."""
    if not all(isinstance(control, T2IAdapter) for control in _controls(guider)):
        core = own_name(comfy_attention.optimized_attention)
        yield f"ControlNets do not ask for the choice; ComfyUI's own, {core}, computes theirs"
    replaced = guider.model_options.get("transformer_options", {}).get("patches_replace", {})
    if replaced.get("attn1") or replaced.get("attn2"):
        yield "another node replaces the attention of some blocks and computes it itself"


def _passed_over_in_graphs(guider: Any) -> Iterator[str]:
    """A compiled model calls the override without what the checkpoint asks for."""
    patcher = guider.model_patcher
    is_compiled = COMPILE_KEY in patcher.wrappers.get(WrappersMP.APPLY_MODEL, {})
    if is_compiled and prefers_attention(patcher.model.diffusion_model):
        yield "in a compiled model the attention that the checkpoint asks for is passed over"


def _controls(guider: Any) -> Iterator[Any]:
    for conds in guider.conds.values():
        for cond in conds:
            control = cond.get("control")
            while control is not None:
                yield control
                control = control.previous_controlnet


class ComfyUIConvention:
    """How ComfyUI calls its own attention functions; see :class:`...attention.lanes.Convention`."""

    def precision(self, asked: torch.dtype | None, dtype: torch.dtype) -> torch.dtype | None:
        found: torch.dtype | None = comfy_attention.get_attn_precision(asked, dtype)
        return found

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
        """Past the wrapper that asks for an override: this is within one."""
        arguments["_inside_attn_wrapper"] = True
        return function(q, k, v, heads, mask, attn_precision, **arguments)


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
        self.node_id = ""
        self._planner = Planner(
            setting, machine, choices, comfy_attention.REGISTERED_ATTENTION_FUNCTIONS
        )
        self._ledger = Ledger(setting.requested, clock_of(machine.kind))
        may_wait = setting.requested == AUTO and machine.kind == "cuda"
        watch = IdleWatch() if may_wait else None
        lanes = partial(Lanes, self._planner, self._ledger, ComfyUIConvention(), setting.timed)
        self._lanes, self._compiled = lanes(watch), lanes()
        self._eagerly = torch.compiler.disable(self._lanes.attend)
        self._out_of_reach: list[str] = []
        self._wrapper = wrapper_code()
        self._uncovered = UNCOVERED

    @property
    def decisions(self) -> dict[str, str]:
        """What runs the calls of each shape class met so far, and why."""
        return self._planner.decisions

    @property
    def compiled(self) -> Lanes | None:
        """The lanes of calls inside a model that is compiled, which does not wait for the host.

        ``None`` where another node's override comes first: what it does may change at every call.
        """
        return self._compiled if self.previous is None else None

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """ComfyUI calls ``(function, q, k, v, heads, mask, attn_precision, ...)``."""
        if torch.compiler.is_compiling():
            attend = self._eagerly
        else:
            attend = self._lanes.attend
            preferred = preferred_function(self._wrapper)
            if preferred is not None and self.setting.requested == COMFYUI:
                attend = partial(self._as_preferred, preferred)
            name = "" if preferred is None else own_name(preferred)
            self._lanes.note = name and NOT_AS_PREFERRED.format(name)
        if self.previous is None:
            return attend(function, *args, **kwargs)
        reached = self._lanes.call_count
        out = self.previous(partial(attend, function), *args, **kwargs)
        if self._lanes.call_count == reached:
            self._ledger.tally(override_name(self.previous), PASSED_OVER).call_count += 1
        return out

    def _as_preferred(
        self, preferred: Callable[..., torch.Tensor], _: Any, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """What ComfyUI runs by itself in a layer whose checkpoint names its attention."""
        tally, clock = self._ledger.tally(own_name(preferred)), self._ledger.clock
        start = clock.mark() if self.setting.timed else None
        out = preferred(*args, **kwargs)
        if start is not None:
            tally.spans.append((start, clock.mark()))
        tally.call_count += 1
        self._lanes.call_count += 1
        return out

    def outer_sample(self, executor: Any, *args: Any, **kw: Any) -> Any:
        """Count anew as a sampling begins, and look what in it this override is not asked by."""
        self.clear()
        guider = executor.class_obj
        self._out_of_reach = [*out_of_reach(guider), *_passed_over_in_graphs(guider)]
        first = guider.model_options.get("transformer_options", {}).get(OVERRIDE)
        others = "" if first is self else f": {override_name(first)} came first"
        self._uncovered = UNCOVERED + others
        return executor(*args, **kw)

    def clear(self) -> None:
        """Forget the calls that were counted; the kernels stay chosen."""
        self._ledger.clear()

    def read(self) -> list[KernelCalls]:
        """The calls since the ledger was cleared, and an entry for what could not be counted."""
        counts = self._ledger.read()
        uncounted = [*([] if counts else [self._uncovered]), *self._out_of_reach]
        return [
            KernelCalls("attention", c.requested, c.executed, c.call_count, c.duration_s, c.reason)
            for c in counts
        ] + [
            KernelCalls("attention", self.setting.requested, "none", 0, None, reason)
            for reason in uncounted
        ]
