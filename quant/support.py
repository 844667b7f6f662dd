"""The weight formats and what gives each native arithmetic, as data.

Every format can be stored anywhere; where arithmetic is not native, weights are widened first: that
saves memory and no time. Source: ComfyUI's quantized operations and comfy-kitchen.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from ..offer import Machine, Offer


@dataclass(frozen=True)
class Format:
    """One weight format. ``native_from`` is the least compute capability with such arithmetic."""

    name: str
    description: str
    native_from: tuple[int, int] | None = None
    native_gfx: tuple[str, ...] = ()
    package: str = ""
    install: str = ""

    def offer(self, machine: Machine) -> Offer:
        """Whether ``machine`` can load this format; the description says how it computes."""
        if self.package and find_spec(self.package) is None:
            reason = f"the package {self.package} is not installed"
            return Offer(self.name, self.description, False, reason, self.install)
        return Offer(self.name, f"{self.description}; {self._arithmetic(machine)}", True)

    def _arithmetic(self, machine: Machine) -> str:
        if self.native_from is None:
            return "widened before it is computed with"
        native = machine.capability is not None and machine.capability >= self.native_from
        native = native or any(machine.gfx.startswith(target) for target in self.native_gfx)
        return "native arithmetic here" if native else "no native arithmetic here: widened"


ANY = (0, 0)
FORMATS: tuple[Format, ...] = (
    Format("fp16", "16-bit float", ANY, ("gfx",)),
    Format("bf16", "bfloat16", (8, 0), ("gfx90a", "gfx94", "gfx95", "gfx11", "gfx12")),
    Format("float8_e4m3fn", "8-bit float", (8, 9), ("gfx94", "gfx95", "gfx12")),
    Format("int8_tensorwise", "8-bit integer, W8A8", (7, 5)),
    Format("mxfp8", "8-bit float in blocks of 32", (10, 0)),
    Format("nvfp4", "4-bit float in blocks of 16", (10, 0)),
    Format("nf4", "4-bit NormalFloat", None, (), "bitsandbytes", "pip install bitsandbytes"),
    Format("gguf", "files of llama.cpp's kind", None, (), "gguf", "pip install gguf"),
)


def offers(machine: Machine) -> list[Offer]:
    """Every format, as ``machine`` has it."""
    return [weight_format.offer(machine) for weight_format in FORMATS]
