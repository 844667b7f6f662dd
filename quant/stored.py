"""What a file holds of a layer: format, tensors by role, and the shape that it computes with.

:mod:`.inventory` makes these of a file; loader, converter and report read nothing else of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .base import CONFIG, Format, encode_config
from .files import WIDE, Entry, FileError, TensorFile, dtype_name
from .formats import FORMATS, find
from .gguf_files import GgufFile
from .scales import granularity

if TYPE_CHECKING:
    import torch
    from torch import Tensor

INPUT_SCALE = "input_scale"
WEIGHT_SCALE = "weight_scale"

FP8_TYPES = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
"""Types of the header, and ComfyUI's names of the formats that store them."""


@dataclass(frozen=True)
class Layout:
    """What files hold of a format: the weights' type in the header, and tensors beside them."""

    dtype: str
    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


LAYOUTS = {
    "float8_e4m3fn": Layout("F8_E4M3", (WEIGHT_SCALE,), (INPUT_SCALE,)),
    "float8_e5m2": Layout("F8_E5M2", (WEIGHT_SCALE,), (INPUT_SCALE,)),
    "mxfp8": Layout("F8_E4M3", (WEIGHT_SCALE,), (INPUT_SCALE,)),
    "nvfp4": Layout("U8", (WEIGHT_SCALE, "weight_scale_2"), (INPUT_SCALE, "pre_quant_scale")),
    "int8_tensorwise": Layout("I8", (WEIGHT_SCALE,)),
    "convrot_w4a4": Layout("I8", (WEIGHT_SCALE,)),
    "asym_w4a8_int8": Layout("I8", ("weight_s_rel", "weight_s_channel"), ("weight_codebook",)),
    "nf4": Layout("U8", (WEIGHT_SCALE,)),
    "int4": Layout("U8", (WEIGHT_SCALE, "weight_nested_scale", "weight_nested_offset")),
}
"""By the name in a layer's configuration: ComfyUI's formats, and ours that it does not know."""


ROLES = frozenset(role for x in LAYOUTS.values() for role in (*x.needed, *x.optional))
"""What a quantized layer may hold beside its weight and bias."""


def format_of(config: Mapping[str, Any], has_input_scale: bool) -> Format | None:
    """Our format for what a file says of a layer; ``None`` for one that ComfyUI alone reads.

    A file of others that says fp8 and nothing of activations is computed as ``fp8``, where
    ComfyUI would take the scale 1 for all activations.
    """
    found = (f.reads(config, has_input_scale) for f in FORMATS)
    return next(filter(None, found), None)


def format_name(config: Mapping[str, Any], has_input_scale: bool) -> str:
    """Our name of a layer's format; ComfyUI's where it is none of ours, as ``float8_e5m2``."""
    found = format_of(config, has_input_scale)
    return str(config["format"]) if found is None else found.name


@dataclass(frozen=True)
class StoredLayer:
    """A layer's weight as a file holds it.

    ``name`` has no prefix. ``config`` is empty where the weight is not quantized; ``tensors`` are
    the entries of the file by their role, in the names of :mod:`.base`, whatever the file calls
    them. ``shape`` is the one that the weight computes with.
    """

    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Entry]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self.tensors.values())

    @property
    def is_quantized(self) -> bool:
        """Whether it is stored in a format, or in plain numbers of 8 bits."""
        return bool(self.config) or self.tensors["weight"].dtype not in WIDE

    @property
    def format(self) -> Format | None:
        """The format of ours that it is stored in; ``None`` if it is in none."""
        return format_of(self.config, INPUT_SCALE in self.tensors) if self.config else None

    @property
    def format_name(self) -> str:
        """Our name; for others ComfyUI's, or the weights' type, as ``fp32``."""
        if not self.config:
            return dtype_name(self.tensors["weight"].dtype)
        return format_name(self.config, INPUT_SCALE in self.tensors)

    @property
    def is_readable(self) -> bool:
        """Whether :meth:`weight` can tell the numbers: not of int8 that ComfyUI has rotated, nor of
        weights that were made for activations times ``pre_quant_scale``."""
        if not self.config:
            return True
        name = self.config["format"]
        if name == "int8_tensorwise" and self.config.get("convrot"):
            return False
        if "pre_quant_scale" in self.tensors:
            return False
        if self.format is not None and self.format.package is not None:
            return self.format.package.is_installed
        return self.format is not None or name == "float8_e5m2"

    def read(self, file: TensorFile | GgufFile) -> dict[str, Tensor]:
        """Its tensors by role, as :meth:`arranged`."""
        return self.arranged({role: file.read(entry.name) for role, entry in self.tensors.items()})

    def arranged(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``stored`` with scales per row as ``[out, 1]`` and one scale for all as a scalar."""
        scale = stored.get(WEIGHT_SCALE)
        name = self.config.get("format")
        if scale is None or name not in ("float8_e4m3fn", "float8_e5m2", "int8_tensorwise"):
            return dict(stored)
        if scale.numel() == 1:
            return {**stored, WEIGHT_SCALE: scale.reshape(())}
        if granularity(self.shape, scale.shape) == (1, self.shape[-1]):
            return {**stored, WEIGHT_SCALE: scale.reshape(-1, 1)}
        return dict(stored)

    def weight(self, file: TensorFile | GgufFile, dtype: torch.dtype) -> Tensor:
        """The weight as it is computed with.

        Raises:
            FileError: no format of ours reads it.
        """
        return self.widened(self.read(file), dtype)

    def widened(self, stored: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """What :meth:`weight` answers, of tensors that were read.

        Raises:
            FileError: no format of ours reads it.
        """
        if not self.config:
            return stored["weight"].to(dtype)
        if self.config["format"] == "float8_e5m2":
            return find("fp8_w").dequantize(stored, dtype)
        if self.format is None or not self.is_readable:
            raise FileError(f"{self.name} is stored as {self.format_name}: not readable")
        told = {CONFIG: encode_config(self.config), **stored}
        return self.format.dequantize(told, dtype).reshape(self.shape)
