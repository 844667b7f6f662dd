"""What became of a model's layers: formats, bytes, errors, and how their products were computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from math import isfinite, prod
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from .fidelity import Fidelity, compare
from .files import FileError, TensorFile
from .gguf_files import GgufFile
from .inventory import layers_of, model_prefix, open_weights
from .stored import StoredLayer

if TYPE_CHECKING:
    import torch

NO_REFERENCE = "no reference was given"
NOT_FINITE = "holds NaN or infinities"


@dataclass(frozen=True)
class LayerReport:
    """One weight of two or more dimensions.

    ``is_quantized`` tells formats of this pack and of others from plain floats. ``fidelity`` is
    ``None`` where ``note`` says why. ``executed`` names how its products were computed, ``native``,
    ``emulated`` or ``dequantized``; it is empty where none was counted.
    """

    name: str
    format: str
    is_quantized: bool
    shape: tuple[int, ...]
    stored_bytes: int
    fidelity: Fidelity | None = None
    executed: str = ""
    call_count: int | None = None
    note: str = ""

    @property
    def kind(self) -> str:
        return "matrix" if len(self.shape) == 2 else "convolution"

    @property
    def weight_count(self) -> int:
        return prod(self.shape)

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.stored_bytes / self.weight_count


@dataclass(frozen=True)
class QuantReport:
    """All weights of one model, and ``other_bytes`` of what is neither matrix nor convolution."""

    name: str
    reference: str
    layers: tuple[LayerReport, ...]
    other_bytes: int

    @property
    def stored_bytes(self) -> int:
        return self.other_bytes + sum(layer.stored_bytes for layer in self.layers)

    @property
    def weight_count(self) -> int:
        return sum(layer.weight_count for layer in self.layers)

    def share(self, kind: str, *, quantized: bool) -> float:
        """Share of the weights that are of this kind, quantized or not."""
        counted = [layer.weight_count for layer in self.layers if layer.kind == kind]
        chosen = [
            layer.weight_count
            for layer in self.layers
            if layer.kind == kind and layer.is_quantized == quantized
        ]
        return sum(chosen) / self.weight_count if counted else 0.0

    @property
    def fidelity(self) -> Fidelity | None:
        """Of all quantized layers that were compared."""
        compared = [x.fidelity for x in self.layers if x.is_quantized and x.fidelity is not None]
        return reduce(add, compared) if compared else None


def report_file(
    path: Path,
    reference: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> QuantReport:
    """Report on the diffusion model in a file.

    Args:
        reference: the file that it was made of, or another of the same model.
        progress: called with the layers that are done and all of them.

    Raises:
        FileError: a file cannot be read, or ``path`` holds no matrix and no convolution.
        OSError: a file cannot be opened.
    """
    with open_weights(path) as file:
        prefix = model_prefix(file.entries)
        layers = layers_of(file, prefix)
        if not layers:
            raise FileError(f"{path} holds no matrix and no convolution: nothing to report on")
        own = {entry.name for layer in layers for entry in layer.tensors.values()}
        other = sum(
            entry.nbytes
            for entry in file.entries.values()
            if entry.name.startswith(prefix) and entry.name not in own
        )
        if reference is None:
            rows = [_row(layer) for layer in layers]
            return QuantReport(path.name, "", tuple(rows), other)
        with open_weights(reference) as original:
            found = {x.name: x for x in layers_of(original, model_prefix(original.entries))}
            rows = []
            for layer in layers:
                rows.append(_compared(file, layer, original, found.get(layer.name)))
                progress(len(rows), len(layers))
    return QuantReport(path.name, reference.name, tuple(rows), other)


def _row(layer: StoredLayer) -> LayerReport:
    return LayerReport(
        layer.name,
        layer.format_name,
        layer.is_quantized,
        layer.shape,
        layer.nbytes,
        note=NO_REFERENCE if layer.is_quantized else "",
    )


def _compared(
    file: TensorFile | GgufFile,
    layer: StoredLayer,
    original: TensorFile | GgufFile,
    source: StoredLayer | None,
) -> LayerReport:
    import torch

    row = _row(layer)
    if source is None:
        return replace(row, note="the reference has no such layer")
    if layer.shape != source.shape:
        return replace(row, note=f"the reference's shape is {source.shape}")
    for which, stored in (("it", layer), ("the reference", source)):
        if not stored.is_readable:
            return replace(row, note=f"{which} is stored as {stored.format_name}: not readable")
    before = source.weight(original, torch.float32)
    return with_errors(row, before, layer.weight(file, torch.float32))


def with_errors(row: LayerReport, original: torch.Tensor, restored: torch.Tensor) -> LayerReport:
    """``row`` with its errors, or with a note where one of both weights is not finite."""
    found = compare(original, restored)
    for which, squares in (("the reference", found.signal), ("it", found.restored)):
        if not isfinite(squares):
            return replace(row, note=f"{which} {NOT_FINITE}")
    return replace(row, fidelity=found, note="")
