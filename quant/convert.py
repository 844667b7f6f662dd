"""A model file in another weight format, written in little memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from .base import CONFIG, Format, WeightRangeError, encode_config
from .files import WIDE, Entry, FileError, TensorFile
from .formats import find
from .inventory import (
    METADATA_KEY,
    has_diffusers_names,
    lasting,
    layers_of,
    model_prefix,
    quantized_already,
)
from .kinds import not_a_model
from .layers import Kept, LayerRules, Quantized, quantize_layer
from .pipeline import Change, Progress, kept, one_torch_thread, stored_as
from .sensitivity import sensitive_layers
from .stored import INPUT_SCALE, StoredLayer
from .stream import DIGEST_PLACE, write_converted

if TYPE_CHECKING:
    from torch import Tensor


UNDERFLOW = 1e-4
"""The share of a tensor's squares that a cast to 16 bits may lose."""

LEAST_NORMAL = 2**-14
"""fp16's least number of full precision; where a larger one is left, no tensor is lost."""


@dataclass(frozen=True)
class Request:
    """What a file is to become.

    Attributes:
        format: a name of ``FORMATS``.
        rules: which layers stay in high precision.
        dtype: of the model's floats that are not quantized, ``bf16`` or ``fp16``; empty leaves
            them as they are.
        input_scales: of ``fp8_static``: a calibrated scale per layer; layers without one have
            their weights quantized and their activations left alone.
        version: WattBench's, for the file's metadata.
        keep_sensitive: the share of the weights that may stay in high precision because their
            layers lose most, between 0 and 1 (:mod:`.sensitivity`).
    """

    format: Format
    rules: LayerRules = field(default_factory=LayerRules)
    dtype: str = ""
    input_scales: Mapping[str, float] = field(default_factory=dict)
    version: str = ""
    keep_sensitive: float = 0.0


@dataclass(frozen=True)
class Conversion:
    """What was made; counts are of matrices and other tensors of two or more dimensions.

    ``formats`` counts layers by format, ``kept`` gives the reason of each layer that stayed, and
    ``unmatched`` has the patterns of the request that no layer matches. ``bits_per_weight`` is of
    the quantized layers, scales included, of which modulation has 8 also in formats of 4 bits;
    ``None`` where none is quantized.
    """

    target: Path
    source_bytes: int
    target_bytes: int
    source_sha256: str
    formats: Mapping[str, int]
    kept: Mapping[str, str]
    unmatched: Sequence[str] = ()
    bits_per_weight: float | None = None

    def text(self) -> str:
        """A few lines for people."""
        made = ", ".join(f"{name} ({count})" for name, count in sorted(self.formats.items()))
        lines = [
            f"{self.target}: {self.target_bytes / 1e6:.1f} MB, was {self.source_bytes / 1e6:.1f} MB"
            f" ({self.target_bytes / self.source_bytes:.0%})",
            f"layers stored as: {made}",
        ]
        if self.bits_per_weight is not None:
            lines.append(f"{self.bits_per_weight:.2f} bits per weight of the quantized layers")
        for reason, count in Counter(self.kept.values()).most_common():
            lines.append(f"as before: {count} ({reason})")
        if self.unmatched:
            lines.append(f"matches no layer of this file: {', '.join(self.unmatched)}")
        return "\n".join(lines)


def convert_file(
    source: Path, target: Path, request: Request, progress: Progress = lambda done, total: None
) -> Conversion:
    """Write ``target``: the model of ``source`` in another format, everything else as it is.

    In a checkpoint only the diffusion model is converted. Memory stays under the largest tensor
    plus 1 GiB.

    Raises:
        FileError: ``source`` is a pickle, damaged, quantized already, a LoRA, under diffusers'
            names, or has nothing to quantize; or the calibration is that of another model.
        FileExistsError: ``target`` exists.
        WeightRangeError: a layer holds infinities or NaN, or overflows; the message names it.
        ValueError: ``fp8_static`` without input scales.
        ImportError: the format needs a package that is not installed.
        OSError: there is no room, or a file cannot be read or written.
    """
    if target.suffix != ".safetensors":
        raise FileError(f"{target.name} must end in .safetensors")
    _check(request)
    with TensorFile(source) as file:
        plan = _Plan(file, request)
        metadata = plan.metadata()
        with one_torch_thread() if _is_quick(request.format) else nullcontext():
            digest = write_converted(file, plan.changes, target, metadata, progress)
    return Conversion(
        target,
        source.stat().st_size,
        target.stat().st_size,
        digest,
        dict(plan.formats),
        plan.kept,
        plan.unmatched,
        plan.bits_per_weight,
    )


class _Plan:
    """What becomes of each tensor, decided before the first is read."""

    def __init__(self, file: TensorFile, request: Request) -> None:
        self.file = file
        self.request = request
        self.prefix = model_prefix(file.entries)
        _check_source(file, self.prefix, request.format)
        self.formats: Counter[str] = Counter()
        self._stored_bytes = self._weight_count = 0
        self.kept: dict[str, str] = {}
        layers = {layer.tensors["weight"].name: layer for layer in layers_of(file, self.prefix)}
        names = {layer.name for layer in layers.values()}
        self.unmatched = request.rules.unmatched(names)
        self._sensitive = sensitive_layers(
            file, layers.values(), request.format, request.rules, request.keep_sensitive
        )
        if request.format.needs_input_scale and names.isdisjoint(request.input_scales):
            raise FileError(
                f"the calibration has no scale for any layer of {file.path}: it was made with "
                "another model. Calibrate this one, or take fp8."
            )
        self.changes = [
            self._change(entry, layers.get(entry.name)) for entry in file.entries.values()
        ]
        if not self.formats:
            raise FileError(
                f"{file.path}: no layer can become {request.format.name}: {self._reasons()}"
            )

    def metadata(self) -> dict[str, str]:
        made = {
            "version": self.request.version,
            "format": self.request.format.name,
            "source": {
                "name": self.file.path.name,
                "bytes": self.file.path.stat().st_size,
                "sha256": DIGEST_PLACE,
            },
            "dtype": self.request.dtype,
            "layers": dict(self.formats),
            "kept": sorted(self.kept),
        }
        return {**lasting(self.file.metadata), METADATA_KEY: json.dumps(made)}

    @property
    def bits_per_weight(self) -> float | None:
        return 8 * self._stored_bytes / self._weight_count if self._weight_count else None

    def _change(self, entry: Entry, layer: StoredLayer | None) -> Change:
        if not entry.name.startswith(self.prefix) or entry.dtype not in WIDE:
            return kept(entry)
        wanted = self.request.format
        if layer is not None and wanted.is_quantized:
            if wanted.needs_input_scale and layer.name not in self.request.input_scales:
                wanted = find(wanted.weight_only)
            decision = self.request.rules.decide(layer.name, entry.shape, wanted)
            if layer.name in self._sensitive:
                decision = Kept("it loses most")
            if isinstance(decision, Quantized):
                self.formats[decision.format.name] += 1
                return self._quantized(entry, layer, decision.format)
            if isinstance(decision, Kept):
                self.kept[layer.name] = decision.reason
        elif layer is not None:
            self.formats[wanted.name] += 1
        dtype = self.request.dtype or ("" if wanted.is_quantized else wanted.name)
        return _cast(entry, dtype) if dtype else kept(entry)

    def _quantized(self, entry: Entry, layer: StoredLayer, chosen: Format) -> Change:
        import torch

        stem = entry.name.removesuffix("weight")
        self._weight_count += prod(entry.shape)
        self._stored_bytes += sum(x.nbytes for x in chosen.stored_spec(entry.shape).values())
        added = {CONFIG: encode_config(chosen.config(entry.shape))}
        if chosen.needs_input_scale:
            scale = self.request.input_scales[layer.name]
            added[INPUT_SCALE] = torch.tensor(scale, dtype=torch.float32)
        spec = {
            stem + suffix: stored_as(torch.empty(shape, dtype=dtype, device="meta"))
            for suffix, (shape, dtype) in chosen.stored_spec(entry.shape).items()
        }
        spec.update({stem + suffix: stored_as(tensor) for suffix, tensor in added.items()})
        return Change(entry, spec, partial(_quantize, chosen, layer.name, stem, added))

    def _reasons(self) -> str:
        reasons = Counter(self.kept.values()).most_common(3)
        return "; ".join(f"{count} × {reason}" for reason, count in reasons) or "it holds no matrix"


def _quantize(
    chosen: Format, layer: str, stem: str, added: Mapping[str, Tensor], weight: Tensor
) -> dict[str, Tensor]:
    """The tensors of one layer by their names in the file."""
    made = quantize_layer(layer, weight, chosen)
    return {stem + suffix: tensor for suffix, tensor in {**made, **added}.items()}


def _cast(entry: Entry, dtype_name: str) -> Change:
    """The tensor in a 16-bit type; one that has it stays as it is."""
    import torch

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype_name]
    stored = stored_as(torch.empty(entry.shape, dtype=dtype, device="meta"))
    if stored.dtype == entry.dtype:
        return kept(entry)

    def convert(tensor: Tensor) -> dict[str, Tensor]:
        narrow = tensor.to(dtype)
        why = _lost(tensor, narrow) if narrow.numel() else ""
        if why:
            raise WeightRangeError(
                f"{entry.name} {why.format(dtype_name)}. bf16 reaches as far as fp32; or leave "
                "the type as it is. Nothing was written."
            )
        return {entry.name: narrow}

    return Change(entry, {entry.name: stored}, convert)


def _lost(tensor: Tensor, narrow: Tensor) -> str:
    """What a cast to 16 bits lost beyond rounding; empty if nothing.

    A few small numbers among large ones may become zero. A tensor of small numbers alone loses
    itself: more than :data:`UNDERFLOW` of its squares are errors, where rounding makes 1e-5 at
    most.
    """
    import torch

    low, high = torch.aminmax(narrow)
    if not (torch.isfinite(low) and torch.isfinite(high)):
        return "overflows {0}, or holds NaN"
    if float(torch.maximum(-low, high)) > LEAST_NORMAL:
        return ""
    before, after = tensor.to(torch.float64), narrow.to(torch.float64)
    if float((after - before).square().sum()) > UNDERFLOW * float(before.square().sum()):
        return "underflows {0}: its numbers are too small"
    return ""


def _is_quick(wanted: Format) -> bool:
    """Whether numbers of ``wanted`` are made about as fast as a file is read and hashed.

    Those of fewer than 8 bits take about ten times as long.
    """
    return wanted.bits_per_weight((4096, 4096)) >= 8


def _check_source(file: TensorFile, prefix: str, wanted: Format) -> None:
    found = not_a_model(file.entries)
    if found:
        kind, remedy = found
        raise FileError(f"{file.path} is {kind}, and {remedy}.")
    reason = quantized_already(file, prefix)
    if reason:
        raise FileError(
            f"{file.path} is quantized already: {reason}. Quantizing twice loses twice: begin "
            "with the original file."
        )
    if wanted.is_quantized and has_diffusers_names(file.entries, prefix):
        raise FileError(
            f"{file.path} has diffusers' names, which ComfyUI changes only before weights are "
            "quantized: the new file would not load. Take Load Quantized Model, which reads this "
            "one, and keep the result with save_as."
        )


def _check(request: Request) -> None:
    if not request.format.can_quantize:
        raise ValueError(f"{request.format.name} files are only read; choose another format")
    request.format.check_installed()
    if request.format.needs_input_scale and not request.input_scales:
        raise ValueError(
            f"{request.format.name} needs calibrated scales: make a calibration file with "
            "Calibrate, or take fp8, which scales activations at run time"
        )
