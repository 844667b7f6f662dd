"""What else decides the cost of a MODEL: ComfyUI's launch options, and patches of other nodes.

Runs with and without them are different conditions. Attention has a column of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from comfy.cli_args import args
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY

from .compile import KEY as OWN_COMPILE_KEY
from .foreign import is_own

LAUNCH_OPTIONS = (
    "--fast",
    "--deterministic",
    "--force-fp32",
    "--force-fp16",
    "--fp32-unet",
    "--fp64-unet",
    "--bf16-unet",
    "--fp16-unet",
    "--fp8_e4m3fn-unet",
    "--fp8_e5m2-unet",
    "--fp8_e8m0fnu-unet",
    "--fp16-vae",
    "--fp32-vae",
    "--bf16-vae",
    "--cpu-vae",
    "--fp8_e4m3fn-text-enc",
    "--fp8_e5m2-text-enc",
    "--fp16-text-enc",
    "--fp32-text-enc",
    "--bf16-text-enc",
    "--fp16-intermediates",
    "--force-channels-last",
    "--force-upcast-attention",
    "--dont-upcast-attention",
    "--supports-fp8-compute",
    "--enable-triton-backend",
    "--disable-triton-backend",
    "--gpu-only",
    "--highvram",
    "--lowvram",
    "--novram",
    "--reserve-vram",
    "--async-offload",
    "--disable-async-offload",
    "--enable-dynamic-vram",
    "--disable-dynamic-vram",
    "--disable-smart-memory",
    "--disable-pinned-memory",
    "--force-non-blocking",
)
"""Those that its version of ComfyUI lacks are passed over."""

FUNCTION_OPTIONS = (
    "model_function_wrapper",
    "sampler_cfg_function",
    "sampler_pre_cfg_function",
    "sampler_post_cfg_function",
    "sampler_calc_cond_batch_function",
)
"""Keys of a MODEL's options under which nodes put a function or a list of functions."""


def launch_options() -> list[str]:
    """The options that ComfyUI was started with, as they are typed: ``--reserve-vram 2.0``."""
    parsed = vars(args)
    given = ((option, parsed.get(option[2:].replace("-", "_"))) for option in LAUNCH_OPTIONS)
    return [_typed(option, value) for option, value in given if value]


def previews() -> list[str]:
    """The option of ComfyUI's sampling previews, which cost time within the steps; or nothing."""
    method = args.preview_method.value
    return [] if method == "none" else [f"--preview-method {method}"]


def patches_of(model: Any) -> list[str]:
    """What other nodes put on a MODEL, each once: where it hooks in, and whose it is.

    Weights that a LoRA changes are ``patched weights``, without a number: how many there are does
    not change the cost of a step.
    """
    options = model.model_options
    transformer = options.get("transformer_options", {})
    found = ["patched weights"] if model.patches else []
    for name in FUNCTION_OPTIONS:
        found += [f"{name} {owner}" for owner in _owners(_listed(options.get(name)))]
    for name, functions in transformer.get("patches", {}).items():
        found += [f"{name} {owner}" for owner in _owners(functions)]
    for name, functions in transformer.get("patches_replace", {}).items():
        found += [f"{name} {owner}" for owner in _owners(functions.values())]
    found += [key for key in model.object_patches if key.startswith("diffusion_model")]
    found += _wrapper_keys(model)
    return list(dict.fromkeys(found))


def _wrapper_keys(model: Any) -> Iterator[str]:
    """Those of others. Ours change nothing, or the node that put them there names itself.

    Our node Compile uses core's wrapper.
    """
    for by_key in model.wrappers.values():
        for key, functions in by_key.items():
            compiled_by_us = key == COMPILE_KEY and OWN_COMPILE_KEY in by_key
            if not compiled_by_us and not all(map(is_own, functions)):
                yield str(key) if key is not None else f"wrapper {', '.join(_owners(functions))}"


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _owners(functions: Iterable[Any]) -> list[str]:
    """The class or function that each was made in, each once."""
    names = (getattr(f, "__qualname__", type(f).__name__).split(".")[0] for f in functions)
    return list(dict.fromkeys(names))


def _typed(option: str, value: Any) -> str:
    if value is True:
        return option
    if isinstance(value, set):
        return " ".join((option, *sorted(feature.value for feature in value)))
    return f"{option} {value}"
