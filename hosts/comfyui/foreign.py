"""Functions of ComfyUI that another node pack has put its own in the place of."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy
import torch

COMFYUI = Path(comfy.__path__[0]).resolve().parent
PACK = Path(__file__).resolve().parents[2]
TORCH = Path(torch.__file__).resolve().parent
PACKAGE = __name__.removesuffix(".hosts.comfyui.foreign")

SAMPLING_FUNCTIONS = {
    "nodes": (
        *("common_ksampler", "KSampler.sample", "KSamplerAdvanced.sample"),
        *("CLIPTextEncode.encode", "VAEDecode.decode", "VAEEncode.encode"),
    ),
    "comfy.sample": ("sample", "sample_custom", "prepare_noise", "fix_empty_latent_channels"),
    "comfy.samplers": (
        *("sample", "sampling_function", "cfg_function", "calc_cond_batch", "_calc_cond_batch"),
        *("_calc_cond_batch_outer", "KSampler.sample", "KSAMPLER.sample", "calculate_sigmas"),
        *("KSampler.set_steps", "KSampler.calculate_sigmas", "ksampler", "sampler_object"),
        *("CFGGuider.sample", "CFGGuider.outer_sample", "CFGGuider.inner_sample"),
        *("CFGGuider.outer_predict_noise", "CFGGuider.predict_noise", "CFGGuider.__call__"),
        *("CFGGuider.set_cfg", "CFGGuider.set_conds"),
    ),
    "comfy.model_base": ("BaseModel.apply_model", "BaseModel._apply_model"),
    "comfy.patcher_extension": ("WrapperExecutor.execute", "WrapperExecutor.__call__"),
    "comfy.sd": (
        *("VAE.decode", "VAE.decode_tiled", "VAE.encode", "CLIP.encode_from_tokens"),
        *("CLIP.encode_from_tokens_scheduled",),
    ),
    "comfy.ldm.modules.attention": (
        *("attention_basic", "attention_sub_quad", "attention_split", "attention_pytorch"),
        *("attention_xformers", "attention_sage", "attention_flash"),
    ),
    "comfy.ldm.modules.diffusionmodules.model": ("vae_attention", "pytorch_attention"),
    "torch.nn.functional": (
        *("scaled_dot_product_attention", "linear", "conv2d", "layer_norm", "group_norm"),
    ),
}
"""Names by module. Those that a version of ComfyUI lacks are passed over."""


def replaced_functions() -> list[str]:
    """Each function that is no longer ComfyUI's or torch's own, with whose it is now."""
    found = []
    for module_name, names in SAMPLING_FUNCTIONS.items():
        module = sys.modules.get(module_name)
        own_file = _resolved(getattr(module, "__file__", None))
        for name in names:
            function = functools.reduce(
                lambda holder, part: inspect.getattr_static(holder, part, None),
                name.split("."),
                module,
            )
            if function is not None and not _is_original(function, own_file):
                found.append(f"{module_name}.{name} by {_owner(_file_of(function))}")
    return found


def replaced_parts(model: Any) -> list[str]:
    """The same of a MODEL: of the object that ComfyUI calls, its network, and the network's parts.

    Classes of another pack are named once, with their functions.
    """
    base = model.model
    network = base.diffusion_model
    found = [*_on_object(base, "model")]
    for part in network.modules():
        found += [*_on_object(part, type(part).__name__), *_hooks(part)]
    parts = (base, *network.modules())
    for kind in dict.fromkeys(kind for part in parts for kind in type(part).__mro__):
        found += _of_class(kind)
    return list(dict.fromkeys(found))


def replaced_in_sampler(guider: Any, sampler: Any) -> list[str]:
    """The same of the guider and the sampler of one sampling, and of the sampler's function."""
    found = [*_on_object(guider, type(guider).__name__), *_on_object(sampler, "sampler")]
    for kind in (*type(guider).__mro__, *type(sampler).__mro__):
        found += _of_class(kind)
    function = getattr(sampler, "sampler_function", None)
    if function is not None and not _is_known(_file_of(function)):
        found.append(f"{getattr(function, '__name__', 'sampler')} by {_owner(_file_of(function))}")
    return list(dict.fromkeys(found))


def is_own(function: Any) -> bool:
    """Whether a function, or the object that is called, is this pack's."""
    while isinstance(function, functools.partial):
        function = function.func
    return f"{getattr(function, '__module__', '')}.".startswith(f"{PACKAGE}.")


def _of_class(kind: type) -> Iterator[str]:
    """A class of another pack, or the functions of one that are not of where it was written."""
    file = _resolved(getattr(sys.modules.get(kind.__module__), "__file__", None))
    if file is not None and _is_packs(file):
        yield f"{kind.__qualname__} by {_owner(file)}"
        return
    elsewhere = SAMPLING_FUNCTIONS.get(kind.__module__, ())
    for name, function in vars(kind).items():
        code = _file_of(function)
        if f"{kind.__name__}.{name}" in elsewhere:
            continue
        if code is not None and code != file and not _is_known(code):
            yield f"{kind.__name__}.{name} by {_owner(code)}"


def _on_object(holder: Any, what: str) -> Iterator[str]:
    """Functions that stand on an object itself, in the place of its class's, and are another's."""
    for name, value in vars(holder).items():
        in_place = callable(value) and callable(getattr(type(holder), name, None))
        if in_place and not _is_known(_file_of(value)):
            yield f"{what}.{name} by {_owner(_file_of(value))}"


def _hooks(part: Any) -> Iterator[str]:
    for name in ("_forward_pre_hooks", "_forward_hooks"):
        for hook in getattr(part, name).values():
            if not _is_known(_file_of(hook)):
                yield f"{type(part).__name__}.{name} by {_owner(_file_of(hook))}"


def _is_original(function: Any, own_file: Path | None) -> bool:
    """What torch gives is written in C, or in a file of torch's."""
    file = _file_of(function)
    if own_file is not None and own_file.is_relative_to(TORCH):
        return inspect.isbuiltin(function) or _is_known(file)
    return file == own_file


def _is_known(file: Path | None) -> bool:
    if file is None or _is_packs(file):
        return False
    return any(file.is_relative_to(root) for root in (COMFYUI, PACK, TORCH))


def _is_packs(file: Path) -> bool:
    """Whether it belongs to another node pack."""
    return "custom_nodes" in file.parts[:-1] and not file.is_relative_to(PACK)


def _file_of(function: Any) -> Path | None:
    """Where a function's own code stands, whatever it says that it wraps; ``None`` without one."""
    while isinstance(function, (functools.partial, staticmethod, classmethod)):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return _resolved(None if code is None else code.co_filename)


@functools.cache
def _resolved(file: str | None) -> Path | None:
    """What is no file, as ``<string>``, is none."""
    return None if file is None or file.startswith("<") else Path(file).resolve()


def _owner(file: Path | None) -> str:
    """The node pack that a file belongs to, or the file's name."""
    if file is None:
        return "code without a file"
    parts = file.parts
    if "custom_nodes" in parts[:-1]:
        return parts[parts.index("custom_nodes") + 1].removesuffix(".py")
    return file.name
