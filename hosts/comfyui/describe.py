"""What can be said of a model, and of what a sampler was asked to do with it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import comfy.ldm.modules.attention as comfy_attention
from comfy.samplers import KSampler

from ...attention.plan import FIELD_NAMES
from ...quant.files import SHORT_NAMES
from .alterations import launch_options, patches_of, previews
from .attention import OVERRIDE, override_name, override_of
from .foreign import replaced_functions, replaced_in_sampler, replaced_parts
from .identity import ModelIdentity, identity_of, optimizations_of
from .loaded_files import file_of, mark_of

WEIGHT_FORMAT_KEY = "wattbench_weight_format"
"""Attachment of a MODEL that we quantized: the name of the format that was asked for."""


def architecture_of(model: Any) -> str:
    """The pack's name of a MODEL's architecture, by its configuration and not by its file."""
    from ...law.flop.families import family_name

    config = model.model.model_config
    return family_name(type(config).__name__, config.unet_config)


def step_count(model: Any, steps: int, sampler_name: str, scheduler: str) -> int:
    """The steps that core's KSampler makes: some schedulers merge or add some."""
    sampler = KSampler(
        model, steps=steps, device="cpu", sampler=sampler_name, scheduler=scheduler, denoise=1.0
    )
    return len(sampler.sigmas) - 1


def latent_shape(model: Any, latent: dict[str, Any]) -> tuple[int, int, int]:
    """Width and height in pixels, and batch, of the picture that a LATENT becomes."""
    samples = latent["samples"]
    ratio = latent.get("downscale_ratio_spacial")
    if ratio is None:
        ratio = model.get_model_object("latent_format").spacial_downscale_ratio
    return int(samples.shape[-1] * ratio), int(samples.shape[-2] * ratio), samples.shape[0]


def describe_model(model: Any) -> ModelIdentity:
    """Architecture, name and origin of a MODEL; an empty string where it does not tell."""
    attached = identity_of(model)
    if attached is not None:
        return attached
    architecture = architecture_of(model)
    source = file_of(model)
    if not source:
        return ModelIdentity(architecture, "", "")
    return ModelIdentity(architecture, Path(source).name, f"file {mark_of(model)}".strip())


def weight_format(model: Any) -> str:
    """The format that was asked for, or that most of the weights' bytes are stored in."""
    asked = model.get_attachment(WEIGHT_FORMAT_KEY)
    if asked is not None:
        return str(asked)
    sizes: Counter[Any] = Counter()
    for module in model.model.diffusion_model.modules():
        quantized = vars(module).get("quant_format")
        for parameter in module._parameters.values():
            if parameter is not None:
                sizes[quantized or parameter.dtype] += parameter.nbytes
    if not sizes:
        return ""
    return dtype_name(sizes.most_common(1)[0][0])


def dtype_name(dtype: Any) -> str:
    """The pack's short name of a torch dtype; what is no dtype keeps its name."""
    name = str(dtype).removeprefix("torch.")
    return SHORT_NAMES.get(name, name)


def attention_requested(model: Any) -> str:
    """The attention that was chosen for this model, or that ComfyUI is set to use.

    Overrides of other nodes are named before it, in the order in which they are asked. What ran is
    another matter.
    """
    first = model.model_options.get("transformer_options", {}).get(OVERRIDE)
    own = override_of(model) if first is not None else None
    others = [first if first is not own else None, own.previous if own is not None else None]
    names = [override_name(other) for other in others if other is not None]
    if own is not None:
        names.append(own.setting.name)
    if names:
        return ", ".join(names)
    chosen = comfy_attention.optimized_attention
    for name, function in comfy_attention.REGISTERED_ATTENTION_FUNCTIONS.items():
        if function is chosen:
            return FIELD_NAMES.get(name, name)
    return str(getattr(chosen, "__name__", chosen))


def model_facts(model: Any) -> dict[str, Any]:
    """The fields of :class:`..measure.records.Condition` that a MODEL determines."""
    identity = describe_model(model)
    return {
        "architecture": identity.architecture,
        "model": identity.model,
        "weights": identity.weights,
        "attention": attention_requested(model),
        "weight_format": weight_format(model),
        "optimizations": ", ".join(
            (
                *optimizations_of(model),
                *patches_of(model),
                *replaced_functions(),
                *replaced_parts(model),
                *launch_options(),
                *previews(),
            )
        ),
    }


def vae_facts(vae: Any) -> dict[str, Any]:
    """The fields of a condition that a VAE determines: its kind, and what else it computes."""
    kind = f"{type(vae.patcher.model).__name__} {dtype_name(vae.vae_dtype)}"
    others = ", ".join(f"vae {name}" for name in optimizations_of(vae.patcher))
    return {"vae": f"{kind} {mark_of(vae.patcher)}".strip(), "optimizations": others}


def clip_facts(clip: Any) -> dict[str, Any]:
    """The fields of a condition that a CLIP determines: the weight format that it was given.

    Raises:
        ValueError: there is none.
    """
    if clip is None:
        raise ValueError(
            "clip is missing: the checkpoint that it comes from holds no text encoder. "
            "Load one with Load CLIP (WattBench) and connect it here."
        )
    asked = clip.patcher.get_attachment(WEIGHT_FORMAT_KEY)
    dtype = next(clip.patcher.model.parameters()).dtype
    kind = f"{type(clip.patcher.model).__name__} {dtype_name(dtype)}"
    others = "" if asked is None else f"text {asked}"
    return {"text_encoder": f"{kind} {mark_of(clip.patcher)}".strip(), "optimizations": others}


def model_bytes(model: Any) -> int:
    """Bytes of a MODEL's weights as they are stored."""
    return sum(parameter.nbytes for parameter in model.model.diffusion_model.parameters())


def sampling_facts(
    guider: Any, shape: tuple[int, ...], sampler: Any, sigmas: Any
) -> dict[str, Any]:
    """What a sampling was asked for, and the fields of a condition that its model determines.

    Args:
        guider: ComfyUI's ``CFGGuider``, which holds the model.
        shape: that of the latent noise, ``[batch, channels, ..., height, width]``.
        sampler: ComfyUI's ``Sampler``.
        sigmas: noise levels, one more than there are steps.
    """
    model = guider.model_patcher
    latent = model.get_model_object("latent_format")
    function = getattr(getattr(sampler, "sampler_function", None), "__name__", "")
    facts = model_facts(model)
    others = (facts["optimizations"], *replaced_in_sampler(guider, sampler))
    return {
        **facts,
        "optimizations": ", ".join(filter(None, others)),
        "width_px": shape[-1] * latent.spacial_downscale_ratio,
        "height_px": shape[-2] * latent.spacial_downscale_ratio,
        "batch_size": shape[0],
        "frames": (shape[2] - 1) * latent.temporal_downscale_ratio + 1 if len(shape) == 5 else 1,
        "steps": len(sigmas) - 1,
        "sampler": function.removeprefix("sample_").removesuffix("_function"),
    }
