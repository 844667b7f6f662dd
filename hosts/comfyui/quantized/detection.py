"""Which model a file's tensors are, as ComfyUI tells it by their names and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.model_detection
import comfy.utils
import torch

from ....quant.base import CONFIG
from ....quant.files import FileError
from .reading import Held, StateDict, read_file


@dataclass(frozen=True)
class Detected:
    """A file's diffusion model, and what is beside it.

    Attributes:
        config: ComfyUI's configuration of the model.
        prefix: of the diffusion model's names in the file; empty where the file holds nothing else.
        parts: the diffusion model's tensors under ComfyUI's names, without prefix.
        outside: the other tensors under the file's names; some say which model it is.
        linears: names of the model's linear layers.
    """

    config: Any
    prefix: str
    parts: StateDict
    outside: StateDict
    linears: frozenset[str]


def detect(held: Held) -> Detected:
    """Which model ``held`` is: ComfyUI's answer to the tensors in the shapes they compute with.

    Raises:
        FileError: ComfyUI knows no such model, or it is quantized under diffusers' names.
    """
    logical = held.logical()
    prefix = comfy.model_detection.unet_prefix_from_state_dict(logical)
    config = _config(held, logical, prefix)
    if config is None and any(name.startswith(prefix) for name in logical):
        raise _unknown(held)
    tensors = held.tensors
    if config is None:
        prefix = ""
        config = _config(held, logical, "")
    if config is None:
        with _missing_named(held):
            tensors = logical = _native_names(held)
        config = _config(held, logical, "")
    if config is None:
        raise _unknown(held)
    outside = {name: t for name, t in tensors.items() if not name.startswith(prefix)}
    parts = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    return Detected(config, prefix, parts, outside, _linears(config, logical, prefix))


def linear_names(path: str) -> frozenset[str] | None:
    """The linear layers of the diffusion model in a file, as ComfyUI builds it.

    ``None`` for a file that holds none, as a text encoder's own.
    """
    try:
        return detect(read_file(path)).linears
    except FileError:
        return None


def _unknown(held: Held) -> FileError:
    return FileError(
        f"{held.name} holds no diffusion model that this ComfyUI knows. Text encoders, VAEs and "
        "LoRAs have loaders of their own."
    )


def _config(held: Held, tensors: StateDict, prefix: str) -> Any:
    with _missing_named(held):
        return comfy.model_detection.model_config_from_unet(tensors, prefix, metadata=held.metadata)


@contextmanager
def _missing_named(held: Held) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise FileError(
            f"{held.name} has no {error.args[0]}, by which ComfyUI tells which model it is: it is "
            "incomplete, or no diffusion model. Get it again."
        ) from error


def _linears(config: Any, tensors: StateDict, prefix: str) -> frozenset[str]:
    """Names in the file, without prefix, of the linear layers of the model that ComfyUI builds.

    The model has no numbers here. Of some models ComfyUI changes names once more as it loads them.
    """
    blank = type(config)(config.unet_config)
    blank.set_inference_dtype(torch.bfloat16, None)
    model = blank.get_model(dict(tensors), prefix, device=torch.device("meta"))
    modules = model.diffusion_model.named_modules()
    built = {f"{name}.weight" for name, module in modules if isinstance(module, torch.nn.Linear)}
    names = [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
    return frozenset(
        name.removesuffix(".weight")
        for name in names
        if name.endswith(".weight")
        and not built.isdisjoint(blank.process_unet_state_dict({name: tensors[prefix + name]}))
    )


def _native_names(held: Held) -> StateDict:
    """The tensors under ComfyUI's names, if those that they have are diffusers'.

    Raises:
        FileError: they are diffusers', and the file is quantized.
    """
    tensors = held.tensors
    config = comfy.model_detection.model_config_from_diffusers_unet(tensors)
    if config is not None:
        names = comfy.utils.unet_to_diffusers(config.unet_config)
        native = {ours: tensors[theirs] for theirs, ours in names.items() if theirs in tensors}
    else:
        native = comfy.model_detection.convert_diffusers_mmdit(tensors, "")
    if native is None:
        return tensors
    if any(key.endswith(f".{CONFIG}") for key in tensors):
        raise FileError(
            f"{held.name} is quantized under diffusers' names, of which ComfyUI joins matrices "
            "only before they are quantized. Load the original file here in this format, and keep "
            "the result with save_as."
        )
    return native
