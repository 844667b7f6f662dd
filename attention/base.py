"""What an attention backend is: its preconditions as data, its refusals in words, its kernel.

Every kernel takes and gives the layout HND: ``q`` ``[batch, heads, q_len, head_dim]``, ``k`` and
``v`` ``[batch, kv_heads, kv_len, head_dim]``, a mask that broadcasts to
``[batch, heads, q_len, kv_len]`` (bool: True is attended to; floating point: added to the scores),
and ``scale``, the factor of the scores (``None``: ``head_dim ** -0.5``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from ..offer import Machine, Offer
from .packages import (
    call_fault,
    import_fault,
    installed_version,
    is_found,
    is_here,
    version_numbers,
)

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = tuple[Tensor, Tensor, Tensor, Tensor | None, float | None]
    Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, float | None], Tensor]

HALF = ("float16", "bfloat16")
FLOATS = ("float32", *HALF)
BEFORE_AMPERE = ("float32", "float16")
"""What NVIDIA's cards below compute capability 8.0 compute in."""
REMEDY = "choose sdpa, or sub_quadratic where memory is short"


@dataclass(frozen=True)
class AttentionCall:
    """The shape class of one call: what a kernel must know to say whether it can run it.

    ``dtype`` and ``mask_dtype`` are torch's names (``bfloat16``); ``mask_shape`` is empty where
    there is no mask; ``scale`` is ``None`` for the usual ``head_dim ** -0.5``.
    """

    machine: Machine
    dtype: str
    batch: int
    heads: int
    kv_heads: int
    q_len: int
    kv_len: int
    head_dim: int
    mask_shape: tuple[int, ...] = ()
    mask_dtype: str = ""
    scale: float | None = None

    @classmethod
    def of(
        cls,
        machine: Machine,
        q: Tensor,
        k: Tensor,
        mask: Tensor | None = None,
        scale: float | None = None,
    ) -> AttentionCall:
        """The class of a call with these tensors, in the layout HND."""
        batch, heads, q_len, head_dim = q.shape
        return cls(
            machine,
            dtype_name(q),
            batch,
            heads,
            k.shape[1],
            q_len,
            k.shape[2],
            head_dim,
            () if mask is None else tuple(mask.shape),
            "" if mask is None else dtype_name(mask),
            scale,
        )

    @property
    def label(self) -> str:
        """The class in short: dtype, batch x heads x q_len x kv_len x head_dim, and the rest."""
        size = "x".join(
            str(n) for n in (self.batch, self.heads, self.q_len, self.kv_len, self.head_dim)
        )
        parts = [self.dtype, size]
        if self.kv_heads != self.heads:
            parts.append(f"{self.kv_heads} kv heads")
        if self.mask_shape:
            parts.append(f"{self.mask_dtype} mask " + "x".join(map(str, self.mask_shape)))
        if self.scale is not None:
            parts.append(f"scale {self.scale:g}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Target:
    """A kind of device that a kernel runs on, and what it asks of a call there.

    ``capabilities`` are ranges of NVIDIA's compute capability, ends included; ``gfx`` are AMD's
    targets, by their beginnings. Both empty: any device of this kind. ``switch`` is a variable of
    the environment that must be TRUE. ``head_dims`` lists those that are possible; where it is
    empty, ``most_head_dim`` and ``head_dim_step`` bound them. A kernel that counts what its last
    block of ``kv_block`` keys lacks as keys of score 0 is refused where those are more than the
    part ``most_padding`` of all keys.
    """

    kind: str = "cuda"
    capabilities: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = ()
    gfx: tuple[str, ...] = ()
    switch: str = ""
    dtypes: tuple[str, ...] = FLOATS
    head_dims: tuple[int, ...] = ()
    most_head_dim: int | None = None
    head_dim_step: int = 1
    kv_block: int = 1
    most_padding: float = 0.0
    masks: bool = True
    scales: bool = True

    def admits(self, machine: Machine) -> bool:
        """Whether ``machine`` is such a device."""
        if self.kind not in ("", machine.kind):
            return False
        if self.switch and os.environ.get(self.switch) != "TRUE":
            return False
        if not self.capabilities and not self.gfx:
            return True
        if machine.gfx:
            return machine.gfx.startswith(self.gfx) if self.gfx else False
        capability = machine.capability
        return capability is not None and any(
            low <= capability <= high for low, high in self.capabilities
        )

    def refusal(self, call: AttentionCall) -> str:
        """Why the kernel cannot run ``call`` here; empty where it can."""
        padding = -call.kv_len % self.kv_block
        for refused, reason in (
            (call.dtype not in self.dtypes, f"it takes {_either(self.dtypes)}, not {call.dtype}"),
            (bool(call.mask_shape) and not self.masks, "it takes no mask"),
            (call.scale is not None and not self.scales, "it takes no scale of its own"),
            (
                bool(self.head_dims) and call.head_dim not in self.head_dims,
                f"it takes a head_dim of {_either(self.head_dims)}, not {call.head_dim}",
            ),
            (
                call.head_dim > (self.most_head_dim or call.head_dim),
                f"it takes a head_dim up to {self.most_head_dim}, not {call.head_dim}",
            ),
            (
                call.head_dim % self.head_dim_step != 0,
                f"it takes multiples of {self.head_dim_step} as head_dim, not {call.head_dim}",
            ),
            (
                padding > self.most_padding * call.kv_len,
                f"it reads keys in blocks of {self.kv_block} and counts the {padding} that "
                f"{call.kv_len} lack as keys of score 0",
            ),
        ):
            if refused:
                return reason
        return ""

    def cards(self, machine: Machine) -> str:
        """The cards of ``machine``'s maker that it is for; empty where there are none."""
        if machine.gfx:
            named = ", ".join(self.gfx)
            return f"{named} with {self.switch}=TRUE" if self.switch else named
        if machine.capability is None or not self.capabilities:
            return ""
        ranges = (
            _dotted(low)
            + ("" if high == low else " or later" if high >= (99, 0) else f" to {_dotted(high)}")
            for low, high in self.capabilities
        )
        return f"compute capability {', '.join(ranges)}"


ANYWHERE = Target(kind="", dtypes=("float64", *FLOATS))


class InGraphs(Enum):
    """How a kernel can be part of a model that torch.compile compiles."""

    TRACED = "the compiler sees torch's own operators"
    RECORDED = "the compiler calls it; a CUDA graph can record what it launches and replay that"
    CALLED = "it is called between CUDA graphs: what it launches depends on the memory that is free"


@dataclass(frozen=True)
class Backend:
    """A way to compute attention.

    ``is_exact`` says that it differs from the definition by rounding only; a kernel that quantizes
    is not exact. ``upcasts`` says that it sums the scores of half-precision tensors in fp32.
    ``in_graphs`` says what torch.compile can do with it.
    ``least_version`` and ``below_version`` bound the version of ``package``; ``fault`` says why an
    installed one does not work here.
    """

    name: str
    description: str
    kernel: Kernel
    targets: tuple[Target, ...] = (ANYWHERE,)
    package: str = ""
    distribution: str = ""
    least_version: tuple[int, ...] = ()
    below_version: tuple[int, ...] = ()
    install: str = ""
    fault: Callable[[str], str] = import_fault
    is_exact: bool = True
    upcasts: bool = True
    in_graphs: InGraphs = InGraphs.RECORDED

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        scale: float | None = None,
    ) -> Tensor:
        """Attention of tensors in the layout HND; returns ``[batch, heads, q_len, head_dim]``.

        Raises:
            RuntimeError, ValueError, AssertionError, ImportError: what the kernel raises where it
                cannot run the call; ask :meth:`supports` first.
        """
        return self.kernel(q, k, v, mask, scale)

    def precise(self) -> Backend:
        """This backend with scores summed in fp32, for models whose scores overflow fp16."""
        if self.upcasts:
            return self
        return replace(self, kernel=partial(_upcast, self.kernel), upcasts=True)

    def offer(self, machine: Machine) -> Offer:
        """Whether ``machine`` can run this kernel, and if not, why and what to do."""
        reason, remedy = self._machine_refusal(machine), REMEDY
        if not reason:
            reason, remedy = self._package_refusal() or self._call_refusal(machine), self.install
        return Offer(self.name, self.description, not reason, reason, remedy if reason else "")

    def supports(self, call: AttentionCall) -> str:
        """Why this kernel cannot run ``call`` on its machine; empty where it can."""
        reason = (
            self._machine_refusal(call.machine)
            or self._package_refusal()
            or self._call_refusal(call.machine)
        )
        if reason:
            return reason
        refusals = [t.refusal(call) for t in self.targets if t.admits(call.machine)]
        return "" if "" in refusals else refusals[0]

    def _machine_refusal(self, machine: Machine) -> str:
        if any(target.admits(machine) for target in self.targets):
            return ""
        cards = "; ".join(filter(None, (target.cards(machine) for target in self.targets)))
        if not cards:
            both = any(target.gfx for target in self.targets)
            cards = "an NVIDIA or AMD card" if both else "an NVIDIA card"
        others = [f"a {t.kind}" for t in self.targets if not t.capabilities and not t.gfx]
        needed = f"it needs {'; '.join([*others, cards])}"
        return "; ".join((needed, f"this device is {describe(machine)}"))

    def _package_refusal(self) -> str:
        if not self.package:
            return ""
        if not is_found(self.package):
            return f"the package {self.package} is not installed"
        if not self.least_version and not self.below_version:
            return self.fault(self.package)
        found = installed_version(self.distribution or self.package)
        if found is None:
            return f"the version of the package {self.package} is unknown"
        numbers = version_numbers(found)
        if self.least_version and numbers < self.least_version:
            return f"{self.package} {found} is older than {_version(self.least_version)}"
        if self.below_version and numbers >= self.below_version:
            return f"{self.package} {found} is not older than {_version(self.below_version)}"
        return self.fault(self.package)

    def _call_refusal(self, machine: Machine) -> str:
        """Why every call of a package's kernel fails on the device that is here; empty otherwise.

        A package may load and have kernels and raise at each call, as xFormers 0.0.35 does with
        torch 2.11.
        """
        if not self.package or not is_here(machine):
            return ""
        target = next(target for target in self.targets if target.admits(machine))
        dtype = next(dtype for dtype in (*HALF, "float32") if dtype in target.dtypes)
        return call_fault(self.kernel, machine, dtype, (target.head_dims or (64,))[0])


def describe(machine: Machine) -> str:
    """A device in words: its name, and its compute capability or gfx target."""
    detail = machine.gfx
    if machine.capability is not None:
        detail = f"compute capability {_dotted(machine.capability)}"
    return " of ".join(part for part in (machine.name or machine.kind, detail) if part)


def dtype_name(tensor: Tensor) -> str:
    """torch's own name of a tensor's type, as ``bfloat16``."""
    return str(tensor.dtype).removeprefix("torch.")


def repeat_kv(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """``k`` and ``v`` with as many heads as ``q``, for kernels without grouped-query attention."""
    groups = q.shape[1] // k.shape[1]
    if groups == 1:
        return k, v
    return k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)


def _upcast(
    kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    """The kernel on fp32 copies; a mask of truth values stays one."""
    if mask is not None and mask.is_floating_point():
        mask = mask.float()
    return kernel(q.float(), k.float(), v.float(), mask, scale).to(q.dtype)


def _either(values: tuple[object, ...]) -> str:
    return " or ".join(map(str, values))


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _version(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
