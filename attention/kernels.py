"""The attention kernels and their preconditions, as data.

Sources: the packages' own documentation (flash-attn, sageattention, sageattn3, xformers) and
ComfyUI's attention module, which holds ``sub_quadratic`` and ``split``. A kernel that is offered
can be asked for; whether it ran on a call is another matter, because programs fall back silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from ..offer import Machine, Offer


@dataclass(frozen=True)
class Kernel:
    """Where one kernel can run; without ``least_capability`` that is anywhere."""

    name: str
    description: str
    package: str = ""
    install: str = ""
    least_capability: tuple[int, int] | None = None
    most_capability: tuple[int, int] = (99, 9)
    gfx: tuple[str, ...] = ()

    def offer(self, machine: Machine) -> Offer:
        """Whether ``machine`` can run this kernel, and if not, why and what to do."""
        reason = self._unfit(machine)
        remedy = "choose sdpa, or sub_quadratic where memory is short" if reason else ""
        if not reason and self.package and find_spec(self.package) is None:
            reason, remedy = f"the package {self.package} is not installed", self.install
        return Offer(self.name, self.description, not reason, reason, remedy)

    def _unfit(self, machine: Machine) -> str:
        if self.least_capability is None:
            return ""
        if machine.gfx:
            fits = any(machine.gfx.startswith(target) for target in self.gfx)
            wanted = ", ".join(self.gfx) or "NVIDIA cards only"
            return "" if fits else f"{machine.gfx} is not among its targets ({wanted})"
        if machine.capability is None:
            return f"it needs a CUDA or ROCm device, and this is {machine.kind}"
        if self.least_capability <= machine.capability <= self.most_capability:
            return ""
        low, high = self.least_capability, self.most_capability
        upto = f" to {high[0]}.{high[1]}" if high < (99, 9) else " or later"
        have = f"{machine.capability[0]}.{machine.capability[1]}"
        return f"it needs compute capability {low[0]}.{low[1]}{upto}, this device has {have}"


KERNELS: tuple[Kernel, ...] = (
    Kernel("sdpa", "torch's scaled_dot_product_attention"),
    Kernel(
        "flash_attention_2",
        "FlashAttention-2",
        "flash_attn",
        "pip install flash-attn --no-build-isolation",
        (8, 0),
        gfx=("gfx90a", "gfx94", "gfx95"),
    ),
    Kernel(
        "flash_attention_3",
        "FlashAttention-3, for Hopper",
        "flash_attn_interface",
        "build it from the hopper folder of the flash-attention sources",
        (9, 0),
        (9, 0),
    ),
    Kernel(
        "sage_1", "SageAttention 1 (Triton)", "sageattention", "pip install sageattention", (8, 0)
    ),
    Kernel(
        "sage_2",
        "SageAttention 2",
        "sageattention",
        "build SageAttention 2 from its sources; the package index holds version 1",
        (8, 0),
    ),
    Kernel(
        "sage_3",
        "SageAttention 3, FP4, for Blackwell",
        "sageattn3",
        "build it from the sageattention3_blackwell folder of its sources",
        (10, 0),
    ),
    Kernel(
        "xformers",
        "xFormers memory-efficient attention",
        "xformers",
        "pip install xformers, in the version made for your torch",
        (7, 0),
        gfx=("gfx90a", "gfx94", "gfx95"),
    ),
    Kernel("sub_quadratic", "sub-quadratic attention in chunks; slow and small"),
    Kernel("split", "attention split by rows; slow and small"),
)
"""torch's own first, then by family; the order is no preference."""


def offers(machine: Machine) -> list[Offer]:
    """Every kernel, as ``machine`` has it."""
    return [kernel.offer(machine) for kernel in KERNELS]
