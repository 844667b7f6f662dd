"""Functions of ComfyUI's sampling that another node pack has put its own in the place of."""

from __future__ import annotations

import functools
import inspect
import sys
from pathlib import Path
from typing import Any

import comfy

COMFYUI = Path(comfy.__path__[0]).resolve().parent
PACK = Path(__file__).resolve().parents[2]
PACKAGE = __name__.removesuffix(".hosts.comfyui.foreign")

SAMPLING_FUNCTIONS = {
    "nodes": ("common_ksampler", "KSampler.sample", "KSamplerAdvanced.sample"),
    "comfy.sample": ("sample", "sample_custom", "prepare_noise", "fix_empty_latent_channels"),
    "comfy.samplers": (
        *("sample", "sampling_function", "cfg_function", "calc_cond_batch", "_calc_cond_batch"),
        *("_calc_cond_batch_outer", "KSampler.sample", "KSAMPLER.sample", "calculate_sigmas"),
        *("CFGGuider.sample", "CFGGuider.outer_sample", "CFGGuider.inner_sample"),
        *("CFGGuider.outer_predict_noise", "CFGGuider.predict_noise", "CFGGuider.__call__"),
    ),
    "comfy.model_base": ("BaseModel.apply_model", "BaseModel._apply_model"),
    "comfy.patcher_extension": ("WrapperExecutor.execute", "WrapperExecutor.__call__"),
}
"""Names by module. Those that a version of ComfyUI lacks are passed over."""


def replaced_functions() -> list[str]:
    """Each function that is no longer ComfyUI's own, with whose it is now."""
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
            file = _file_of(function)
            if function is not None and file != own_file:
                found.append(f"{module_name}.{name} by {_owner(file)}")
    return found


def replaced_forward(model: Any) -> list[str]:
    """The same of the forward of a MODEL's network."""
    network = model.model.diffusion_model
    file = _file_of(vars(network).get("forward", type(network).forward))
    if file is not None and any(file.is_relative_to(root) for root in (COMFYUI / "comfy", PACK)):
        return []
    return [f"{type(network).__name__}.forward by {_owner(file)}"]


def is_own(function: Any) -> bool:
    """Whether a function, or the object that is called, is this pack's."""
    while isinstance(function, functools.partial):
        function = function.func
    return f"{getattr(function, '__module__', '')}.".startswith(f"{PACKAGE}.")


def _file_of(function: Any) -> Path | None:
    """Where a function's own code stands, whatever it says that it wraps; ``None`` without one."""
    while isinstance(function, (functools.partial, staticmethod, classmethod)):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return _resolved(None if code is None else code.co_filename)


def _resolved(file: str | None) -> Path | None:
    return None if file is None else Path(file).resolve()


def _owner(file: Path | None) -> str:
    """The node pack that a file belongs to, or the file's name."""
    if file is None:
        return "code without a file"
    parts = file.parts
    if "custom_nodes" in parts[:-1]:
        return parts[parts.index("custom_nodes") + 1].removesuffix(".py")
    return file.name
