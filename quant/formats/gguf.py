"""GGUF files, as llama.cpp and ComfyUI-GGUF write them: read, and widened at every product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..base import Format, Package, Tensors, TensorSpec, UnsupportedLayerError
from ..ggml import BLOCK_TYPES

if TYPE_CHECKING:
    import torch

PREFIX = "gguf:"


@dataclass(frozen=True)
class Gguf(Format):
    """Weights in blocks of ``type_name``, a row after the other: uint8 ``[rows, bytes of a row]``.

    The rows need not be the matrix's: who knows its shape gives it to what is widened.

    With an empty ``type_name`` it stands for GGUF files in lists; a layer has one of the types.
    """

    type_name: str = ""

    @property
    def can_quantize(self) -> bool:
        return False

    def config(self, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"format": self.name}

    def reads(self, config: Mapping[str, Any], has_input_scale: bool) -> Format | None:
        """One for each block type."""
        prefix, _, type_name = str(config["format"]).partition(":")
        return of_type(type_name) if prefix == self.name and type_name in BLOCK_TYPES else None

    def stored_spec(self, shape: tuple[int, ...]) -> dict[str, TensorSpec]:
        import torch

        block = BLOCK_TYPES[self.type_name]
        row = shape[1] // block.weights * block.nbytes
        return {"weight": TensorSpec((shape[0], row), torch.uint8)}

    def shape(self, stored: Tensors) -> tuple[int, ...]:
        block = BLOCK_TYPES[self.type_name]
        rows, nbytes = stored["weight"].shape
        return rows, nbytes // block.nbytes * block.weights

    def supports(self, shape: tuple[int, ...]) -> str:
        return "GGUF files are read, not written: llama.cpp's tools make them"

    def _quantize(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        raise UnsupportedLayerError(f"{self.name}: {self.supports(tuple(weight.shape))}")

    def dequantize(self, stored: Tensors, dtype: torch.dtype) -> torch.Tensor:
        block = BLOCK_TYPES[self.type_name]
        blocks = stored["weight"].reshape(-1, block.nbytes)
        return block.widen(blocks).to(dtype).reshape(self.shape(stored))


GGUF = Gguf(
    "gguf",
    "files of llama.cpp's kind",
    "dequantized",
    weight_only="gguf",
    package=Package("gguf", "pip install gguf"),
)


def of_type(type_name: str) -> Gguf:
    """The format of one block type, for example ``Q4_K``.

    Raises:
        ValueError: there is none of this name.
    """
    if type_name not in BLOCK_TYPES:
        raise ValueError(f"unknown GGUF type {type_name!r}; choose one of {', '.join(BLOCK_TYPES)}")
    name = PREFIX + type_name
    return Gguf(name, f"GGUF {type_name}", "dequantized", weight_only=name, type_name=type_name)
