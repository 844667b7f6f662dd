"""Files that this pack has quantized, in Forge, whose own loader does not know their formats.

Forge's loader gets such a file with matrices of the usual shape, so that it knows the model and
builds it. Once it has, each of those layers gives way to one that keeps what the file holds and is
widened before each product. So the format saves memory and no time here.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ...quant.base import CONFIG
from ...quant.files import FileError
from ...quant.formats import find
from ...quant.inventory import layers_of, model_prefix, open_weights
from ...quant.stored import StoredLayer

FORMAT = "wattbench_format"
"""The attribute of a network that names the format of its file."""

MARK = "wattbench_original"
STORED = "stored_"


class QuantizedLinear(torch.nn.Module):
    """A linear layer whose weight is stored as ``layer`` says: ``[..., in] -> [..., out]``."""

    def __init__(
        self, layer: StoredLayer, stored: dict[str, torch.Tensor], bias: torch.Tensor | None
    ) -> None:
        super().__init__()
        self.layer, self.roles = layer, tuple(stored)
        for role, tensor in stored.items():
            self.register_parameter(STORED + role, torch.nn.Parameter(tensor, requires_grad=False))
        own = None if bias is None else torch.nn.Parameter(bias.detach(), requires_grad=False)
        self.bias: torch.nn.Parameter | None = own

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Where Forge keeps weights in the main memory they follow the input."""
        stored = {role: getattr(self, STORED + role).to(x.device) for role in self.roles}
        weight = self.layer.widened(stored, x.dtype)
        bias = None if self.bias is None else self.bias.to(x)
        return torch.nn.functional.linear(x, weight, bias)


Stored = dict[str, tuple[StoredLayer, dict[str, torch.Tensor]]]
"""What a file holds of its quantized layers, by their names in the network."""


def install() -> None:
    """Let Forge load such files, as long as it runs; once, and where it has such a loader."""
    loader, models = sys.modules.get("backend.loader"), sys.modules.get("modules.sd_models")
    names = (loader, "load_torch_file"), (models, "forge_loader")
    if any(
        not hasattr(module, name) or hasattr(getattr(module, name), MARK) for module, name in names
    ):
        return
    found: Stored = {}
    for (module, name), wrapper in zip(names, (_tensors_of, _model_of), strict=True):
        original = getattr(module, name)
        setattr(module, name, _wrapped(original, functools.partial(wrapper, found, original)))


def _wrapped(original: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kw: Any) -> Any:
        return wrapper(*args, **kw)

    setattr(call, MARK, original)
    return call


def _model_of(found: Stored, original: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    """``forge_loader(file, ...)``"""
    found.clear()
    try:
        model = original(*args, **kw)
        if found:
            put_in(model.forge_objects.unet.model.diffusion_model, found)
        return model
    finally:
        found.clear()


def _tensors_of(
    found: Stored, original: Callable[..., Any], file: Any, *args: Any, **kw: Any
) -> Any:
    """``load_torch_file(file, ...)``"""
    tensors = original(file, *args, **kw)
    if not any(str(name).endswith(f".{CONFIG}") for name in tensors):
        return tensors
    with open_weights(Path(file)) as opened:
        prefix = model_prefix(opened.entries)
        wide = next((t.dtype for t in tensors.values() if t.dtype.itemsize == 2), torch.float16)
        for layer in layers_of(opened, prefix):
            if not layer.config:
                continue
            if not layer.is_readable:
                raise FileError(f"{layer.name} is stored as {layer.format_name}: not readable here")
            stored = layer.read(opened)
            stored.pop(CONFIG, None)
            found[layer.name] = layer, stored
            for entry in layer.tensors.values():
                del tensors[entry.name]
            tensors.pop(f"{prefix}{layer.name}.{CONFIG}", None)
            # Only its shape and type are looked at.
            tensors[f"{prefix}{layer.name}.weight"] = torch.zeros((), dtype=wide).expand(
                layer.shape
            )
    return tensors


def put_in(network: torch.nn.Module, found: Stored) -> None:
    """Let the network compute with what the file holds.

    Raises:
        FileError: a layer is not where the file has it.
    """
    formats: Counter[str] = Counter()
    for name, (layer, stored) in found.items():
        outer, _, own = name.rpartition(".")
        try:
            parent = network.get_submodule(outer)
            module = parent.get_submodule(own)
        except AttributeError as error:
            raise FileError(f"Forge's model has no layer {name}, which the file holds") from error
        weight = getattr(module, "weight", None)
        if weight is None or tuple(weight.shape) != tuple(layer.shape):
            raise FileError(f"{name} is no linear layer of {list(layer.shape)} in Forge's model")
        setattr(parent, own, QuantizedLinear(layer, stored, getattr(module, "bias", None)))
        formats[_widened_name(layer)] += layer.nbytes
    setattr(network, FORMAT, formats.most_common(1)[0][0])


def _widened_name(layer: StoredLayer) -> str:
    """The format that says how it is computed with here, as ``fp8_w`` for ``fp8``."""
    known = layer.format
    return layer.format_name if known is None else find(known.weight_only or known.name).name
