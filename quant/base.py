"""What a weight format is: how a matrix is stored, read back, and computed with.

A format knows torch tensors and nothing of ComfyUI. Tensors of a layer are named by suffix:
``{"weight": …, "weight_scale": …, "comfy_quant": …}`` is what a file holds under the layer's name,
in the layout of ComfyUI's own quantized files wherever ComfyUI knows the format.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..offer import Machine, Offer

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]
"""The stored tensors of one layer, by suffix."""

CONFIG = "comfy_quant"
"""The suffix of a layer's configuration: JSON as bytes, ``{"format": …}``."""

Kind = Literal["native", "emulated", "dequantized"]
"""How a product was computed.

``native``: by units made for the stored numbers. ``emulated``: for a format with such units, by
other arithmetic. ``dequantized``: the weights are widened first, as the format is made for.
"""


WIDE = "the compute dtype"
"""The arithmetic of a product whose weights are widened."""


class UnsupportedLayerError(ValueError):
    """A layer cannot be stored in this format; the message says why."""


class WeightRangeError(ValueError):
    """A layer holds infinities or NaN, so that no scale fits it."""


class TensorSpec(NamedTuple):
    """Shape and dtype of a stored tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Execution:
    """How a machine computes a product in a format; ``reason`` where it is not as intended."""

    kind: Kind
    arithmetic: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.arithmetic})"


WITHOUT_TENSOR_CORES = (
    "GTX 16", "MX450", "MX550", "T500", "T550", "T600", "T1000", "T1200", "T2000",
)  # fmt: skip
"""Names of NVIDIA's cards of compute capability 7.5 that have no tensor cores."""


@dataclass(frozen=True)
class Hardware:
    """What gives a format native arithmetic: compute capabilities (NVIDIA) and targets (AMD).

    ``tensor_cores`` says that the capability alone is not enough.
    """

    at_least: tuple[int, int]
    below: tuple[int, int] = (99, 0)
    gfx: tuple[str, ...] = ()
    tensor_cores: bool = False

    def has(self, machine: Machine) -> bool:
        if machine.capability is None:
            return any(machine.gfx.startswith(target) for target in self.gfx)
        if self.tensor_cores and any(name in machine.name for name in WITHOUT_TENSOR_CORES):
            return False
        return self.at_least <= machine.capability < self.below


@dataclass(frozen=True)
class Package:
    """A Python package that a format needs, and how to get it."""

    name: str
    install: str

    @property
    def is_installed(self) -> bool:
        return find_spec(self.name) is not None


@dataclass(frozen=True)
class Format(ABC):
    """One weight format.

    Attributes:
        name: what users and tables call it; never changes.
        arithmetic: what computes the product where the hardware has it (``fp8 tensor cores``), or
            ``dequantized`` for formats that only save memory.
        stock: ComfyUI's name of the format, where its own loaders read our files; else ``None``.
        hardware: what gives native arithmetic; ``None`` for formats that are widened first.
        weight_only: name of the format for layers whose weights may be quantized but whose
            activations may not (modulation); the format's own name where it never touches them.
        needs_input_scale: whether a layer needs the activation scale that a calibration finds.
        stock_layout: whether ComfyUI's own layout of ``stock`` computes with the tensors as this
            format means it.
    """

    name: str
    description: str
    arithmetic: str
    stock: str | None = None
    hardware: Hardware | None = None
    weight_only: str = ""
    package: Package | None = field(default=None, kw_only=True)
    needs_input_scale: bool = field(default=False, kw_only=True)
    stock_layout: bool = field(default=False, kw_only=True)

    @property
    def is_quantized(self) -> bool:
        """False for the 16-bit baselines."""
        return True

    @property
    def can_quantize(self) -> bool:
        """False for a format whose files are only read."""
        return True

    def config(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """What a file says of a layer of ``shape`` in :data:`CONFIG`."""
        return {"format": self.stock or self.name}

    def reads(self, config: Mapping[str, Any], has_input_scale: bool) -> Format | None:
        """The format of a layer that a file describes so; ``None`` where it is not this one's."""
        return self if self.is_quantized and config["format"] == self.name else None

    @abstractmethod
    def stored_spec(self, shape: tuple[int, ...]) -> dict[str, TensorSpec]:
        """Shapes and dtypes of what :meth:`quantize` returns for a weight ``[out, in]``."""

    def supports(self, shape: tuple[int, ...]) -> str:
        """Why a weight of ``shape`` cannot be stored; empty if it can."""
        if len(shape) != 2:
            return f"only matrices are quantized, and this has {len(shape)} dimensions"
        return ""

    def quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tensors that store ``weight``, on its device.

        Args:
            weight: ``[out, in]``, any float dtype.

        Raises:
            UnsupportedLayerError: the shape does not fit the format.
            WeightRangeError: the weight holds infinities or NaN.
            ImportError: the format needs a package that is not installed.
        """
        reason = self.supports(tuple(weight.shape))
        if reason:
            raise UnsupportedLayerError(f"{self.name}: {reason}")
        self.check_installed()
        stored = self._quantize(weight)
        if self.is_quantized:
            stored[CONFIG] = encode_config(self.config(tuple(weight.shape)))
        return stored

    @abstractmethod
    def _quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]: ...

    @abstractmethod
    def dequantize(self, stored: Tensors, dtype: torch.dtype) -> torch.Tensor:
        """The weight ``[out, in]`` that ``stored`` holds, in ``dtype``, on its device."""

    def shape(self, stored: Tensors) -> tuple[int, ...]:
        """The shape ``[out, in]`` of the weight that ``stored`` holds."""
        return tuple(stored["weight"].shape)

    def bits_per_weight(self, shape: tuple[int, ...]) -> float:
        """Bits that a weight takes in a matrix ``[out, in]``, scales included."""
        spec = self.stored_spec(shape)
        return 8 * sum(tensor.nbytes for tensor in spec.values()) / prod(shape)

    def execution(self, machine: Machine) -> Execution:
        """How ``machine`` computes with this format."""
        if self.hardware is None:
            return Execution("dequantized", WIDE)
        if self.hardware.has(machine):
            return Execution("native", self.arithmetic)
        device = machine.name or machine.kind
        return Execution("emulated", "eager", f"{device} has no {self.arithmetic}")

    def check_installed(self) -> None:
        """Raise ImportError, which says how to get it, where the format's package is missing."""
        if self.package is not None and not self.package.is_installed:
            raise ImportError(
                f"{self.name} needs the package {self.package.name}: {self.package.install}"
            )

    def offer(self, machine: Machine) -> Offer:
        """Whether ``machine`` can load this format; the description says how it computes."""
        if self.package is not None and not self.package.is_installed:
            reason = f"the package {self.package.name} is not installed"
            return Offer(self.name, self.description, False, reason, self.package.install)
        return Offer(self.name, f"{self.description}; {self._how(machine)}", True)

    def _how(self, machine: Machine) -> str:
        execution = self.execution(machine)
        if execution.kind == "native":
            return f"native here: {execution.arithmetic}"
        if execution.kind == "emulated":
            return f"no native arithmetic here: emulated with {execution.arithmetic}"
        return "widened before it is computed with"


def encode_config(config: Mapping[str, Any]) -> torch.Tensor:
    """``config`` as the tensor that a file holds: JSON as uint8 ``[bytes]``."""
    import torch

    return torch.tensor(list(json.dumps(config).encode("utf-8")), dtype=torch.uint8)


def decode_config(tensor: torch.Tensor) -> dict[str, Any]:
    """The configuration that a layer's :data:`CONFIG` holds; ``params`` in it are its own entries.

    Raises:
        ValueError: it is no JSON object with a ``format``.
    """
    import torch

    try:
        config = json.loads(bytes(tensor.contiguous().reshape(-1).view(torch.uint8).tolist()))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"a layer's {CONFIG}, {tensor.dtype} of shape {list(tensor.shape)}, is no JSON text"
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("format"), str):
        raise ValueError(f"a layer's {CONFIG} names no format")
    params = config.pop("params", None)
    return {**params, **config} if isinstance(params, dict) else config


def largest(weight: torch.Tensor, dim: int | None = None) -> torch.Tensor:
    """The largest magnitude of ``weight``, fp32: a scalar, or ``[out, 1]`` along ``dim`` 1.

    Raises:
        WeightRangeError: it is infinite or NaN.
    """
    import torch

    if weight.dtype.itemsize == 1:
        weight = weight.to(torch.bfloat16)  # exact, and torch finds no extremes of 8-bit floats
    if dim is None:
        low, high = torch.aminmax(weight)
    else:
        low, high = weight.amin(dim, keepdim=True), weight.amax(dim, keepdim=True)
    amax = torch.maximum(-low, high).to(torch.float32)
    if not bool(torch.isfinite(amax).all()):
        raise WeightRangeError("the weight holds infinities or NaN")
    return amax
