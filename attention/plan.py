"""Which kernel runs the calls of one shape class, and why."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..offer import Machine
from . import BACKENDS, AttentionCall, Backend, backend_named
from .auto import (
    Trial,
    check_beside_sdpa,
    is_lasting,
    pick,
    try_all,
)
from .choices import Choices, key_of
from .packages import failure, is_short_of_memory
from .sdpa import executed_variant, lack_of_memory

if TYPE_CHECKING:
    import torch

    Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, float | None]
    """q, k, v, mask and scale, as :mod:`.base` describes them."""

Functions = Mapping[str, "Callable[..., torch.Tensor]"]
"""The host's own attention functions, by the names under which it knows them."""

AUTO = "auto"
COMFYUI = "comfyui"
"""Leave the choice to ComfyUI and count; in another host it is that one's name."""

PREFIX = "comfyui:"
"""Begins the name of one of ComfyUI's own attention functions."""

FIELD_NAMES = {"pytorch": "sdpa", "sub_quad": "sub_quadratic", "flash": "flash_attention_2"}
"""The hosts' names of attention functions and the ones the field uses, where they differ."""

SDPA, LAST_RESORT = "sdpa", "sub_quadratic"
KNOWN_ARGUMENTS = {
    "transformer_options",
    "_inside_attn_wrapper",
    "enable_gqa",
    "scale",
    "low_precision_attention",
}


class AttentionRefusedError(RuntimeError):
    """In strict mode: a call that the chosen kernel cannot run."""


@dataclass(frozen=True)
class Setting:
    """What a user asks for.

    ``max_error`` bounds the relative RMS error against fp32 of a kernel that quantizes; ``timed``
    asks for the seconds of every call.
    """

    requested: str
    strict: bool = False
    max_error: float = 0.05
    timed: bool = False

    @property
    def name(self) -> str:
        """What was asked for, with what else changes the cost where it is not the default."""
        parts = [self.requested]
        if self.max_error != Setting.max_error:
            parts.append(f"max_error {self.max_error:g}")
        return ", ".join([*parts, *(["timed"] if self.timed else [])])


@dataclass(frozen=True)
class Plan:
    """How a call is run: by a backend, or by a function of the host's with its own arguments.

    ``executed`` and ``reason`` are as the ledger shows them. ``precise`` says that the model asks
    for scores in fp32. A plan with ``trials`` is provisional: sdpa runs the calls of the class
    ``label`` until it is known how often the device is idle.
    """

    executed: str
    reason: str = ""
    backend: Backend | None = None
    function: Callable[..., torch.Tensor] | None = None
    precise: bool = False
    label: str = ""
    how: str = ""
    trials: tuple[Trial, ...] = ()


def core_name(
    function: Callable[..., torch.Tensor], functions: Functions, prefix: str = PREFIX
) -> str:
    """The name under which the host registered an attention function."""
    function = getattr(function, "func", function)
    for name, registered in functions.items():
        if function in (registered, getattr(registered, "__wrapped__", None)):
            return prefix + name
    return prefix + getattr(function, "__name__", type(function).__name__)


class Planner:
    """Plans the calls of one model; ``decisions`` says what was decided, by shape class.

    ``functions`` are the host's own, which may be asked for as ``comfyui:name``, where ``host`` is
    ComfyUI.
    """

    def __init__(
        self,
        setting: Setting,
        machine: Machine,
        choices: Choices,
        functions: Functions,
        host: str = "ComfyUI",
    ) -> None:
        self.decisions: dict[str, str] = {}
        self._host, self._word, self._prefix = host, host.lower(), f"{host.lower()}:"
        self._setting = setting
        self._machine = machine
        self._choices = choices
        self._functions = functions

    @cached_property
    def _offered(self) -> list[Backend]:
        """The kernels that ``auto`` tries: those that this machine has."""
        return [backend for backend in BACKENDS if backend.offer(self._machine).available]

    def plan(
        self,
        function: Callable[..., torch.Tensor],
        tensors: Tensors,
        precision: torch.dtype | None,
        arguments: Mapping[str, Any],
    ) -> Plan:
        """The plan for a call that the host would give to ``function``.

        ``precision`` is the dtype that the scores are asked for in; ``None`` leaves it open.

        Raises:
            AttentionRefusedError: in strict mode, the chosen kernel cannot run it.
        """
        import torch

        q, k, v, mask, scale = tensors
        requested = self._setting.requested
        call = AttentionCall.of(self._machine, q, k, mask, scale)
        unknown = sorted(set(arguments) - KNOWN_ARGUMENTS)
        if unknown or v.shape[3] != q.shape[3]:
            reason = (
                f"it has the argument {unknown[0]}"
                if unknown
                else "its values and keys differ in width"
            )
            plan = self._refused(call, reason, Plan(self._name(function), reason, None, function))
        elif requested == self._word:
            plan = Plan(self._name(function), function=function)
        elif requested.startswith(self._prefix):
            plan = self._core_plan(call, tensors)
        else:
            may_quantize = arguments.get("low_precision_attention", True) is not False
            max_error = self._setting.max_error if may_quantize else 0.0
            precise = precision == torch.float32 != q.dtype
            find = self._auto_plan if requested == AUTO else self._backend_plan
            plan = find(call, tensors, max_error, precise)
        self.decisions.setdefault(call.label, plan.executed)
        return plan

    def after_failure(self, plan: Plan, tensors: Tensors, error: Exception) -> Plan:
        """What runs instead of a backend that raised ``error`` on a call it was planned for.

        Raises:
            Exception: ``error``, where there is nothing to fall back to.
            AttentionRefusedError: in strict mode.
        """
        q, k, _, mask, scale = tensors
        call = AttentionCall.of(self._machine, q, k, mask, scale)
        short = is_short_of_memory(error)
        name = plan.backend.name if plan.backend else ""
        if name == LAST_RESORT or (name == SDPA and not short):
            raise error
        substitute = backend_named(LAST_RESORT if short else SDPA)
        executed = substitute.name if short else executed_variant(*tensors)
        reason = failure(error)
        return self._refused(call, reason, Plan(executed, reason, substitute))

    def settle(self, plan: Plan, idle: float | None) -> Plan:
        """The plan that a provisional plan's trials speak for.

        Args:
            idle: the part of the model's calls at which the device had nothing left to do, 0 to 1;
                ``None`` where the host's time does not count.
        """
        best = pick(plan.trials, idle or 0.0)
        backend = _backend(best.backend if best else SDPA, plan.precise)
        executed = plan.executed if backend.name == SDPA else backend.name
        waits = "" if idle is None else f", the GPU idle at {idle:.0%} of the calls"
        self.decisions[plan.label] = f"{executed}, {plan.how}{waits}: {_told(plan.trials)}"
        logging.info("WattBench attention, %s: %s", plan.label, self.decisions[plan.label])
        return replace(plan, executed=executed, backend=backend, trials=())

    def _name(self, function: Callable[..., torch.Tensor]) -> str:
        return core_name(function, self._functions, self._prefix)

    def _core_plan(self, call: AttentionCall, tensors: Tensors) -> Plan:
        name = self._setting.requested.removeprefix(self._prefix)
        function = self._functions.get(name)
        if function is not None:
            return Plan(self._setting.requested, function=function)
        return self._fallback(call, tensors, f"{self._host} has not registered it on this machine")

    def _backend_plan(
        self, call: AttentionCall, tensors: Tensors, max_error: float, precise: bool
    ) -> Plan:
        backend = _backend(self._setting.requested, precise)
        if backend.name == SDPA:
            return Plan(executed_variant(*tensors), backend=backend)
        trial = check_beside_sdpa(backend, call, tensors, max_error)
        if trial.refusal:
            return self._fallback(call, tensors, trial.refusal)
        return Plan(backend.name, backend=backend)

    def _auto_plan(
        self, call: AttentionCall, tensors: Tensors, max_error: float, precise: bool
    ) -> Plan:
        import torch

        key = key_of(call, max_error) + (" | fp32 scores" if precise else "")
        backends = [_backend(backend.name, precise) for backend in self._offered]
        trials = self._choices.get(key, [backend.name for backend in backends])
        how = "as remembered"
        if trials is None:
            try:
                trials, how = try_all(backends, call, tensors, max_error), "as measured"
            except torch.OutOfMemoryError:
                return self._fallback(call, tensors, "memory is too short to try kernels")
            if is_lasting(trials):
                self._choices.put(key, trials)
        plan = Plan(
            executed_variant(*tensors),
            backend=backend_named(SDPA),
            precise=precise,
            label=call.label,
            how=how,
            trials=tuple(trials),
        )
        return self.settle(plan, None) if trials[0].refusal else plan

    def _fallback(self, call: AttentionCall, tensors: Tensors, reason: str) -> Plan:
        """torch's sdpa, or the last resort where sdpa would need more memory than there is."""
        executed, substitute = executed_variant(*tensors), backend_named(SDPA)
        short = lack_of_memory(SDPA, tensors)
        if short:
            executed, substitute = LAST_RESORT, backend_named(LAST_RESORT)
            reason += f"; and sdpa: {short}"
        return self._refused(call, reason, Plan(executed, reason, substitute))

    def _refused(self, call: AttentionCall, reason: str, plan: Plan) -> Plan:
        """``plan``, a fall-back, with a word in the log; in strict mode an error instead."""
        requested = self._setting.requested
        if self._setting.strict and requested not in (AUTO, self._word):
            raise AttentionRefusedError(
                f"{requested} cannot run the attention call {call.label}: {reason}. Switch "
                "strict off to let sdpa run such calls, or choose another backend."
            )
        self.decisions[call.label] = f"{plan.executed}, because {requested}: {reason}"
        logging.warning("WattBench attention, %s: %s", call.label, self.decisions[call.label])
        return plan


def _backend(name: str, precise: bool) -> Backend:
    return backend_named(name).precise() if precise else backend_named(name)


def _told(trials: Sequence[Trial]) -> str:
    """The trials in words."""
    told = []
    for trial in sorted(trials, key=lambda t: t.seconds or float("inf")):
        if trial.seconds is not None and trial.host_s is not None:
            error = "" if trial.error is None else f", error {trial.error:.1g}"
            host = f" ({trial.host_s * 1e6:.0f} on the host{error})"
            told.append(f"{trial.backend} {trial.seconds * 1e6:.0f} us{host}")
        else:
            told.append(f"{trial.backend} refused: {trial.refusal}")
    return "; ".join(told)
