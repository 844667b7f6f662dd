"""What can be said of Forge's model, and of what a generation was asked to do with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from backend import attention
from backend.args import args
from modules import processing, sd_models, sd_schedulers, shared

from ...attention.plan import FIELD_NAMES
from ...law.flop.families import family_name
from ...measure.recording.model_file import mark_of_files
from ...quant.files import SHORT_NAMES
from ...records import Condition, short_hash
from .quantized import FORMAT

LAUNCH_OPTIONS = (
    "--all-in-fp32",
    "--all-in-fp16",
    "--unet-in-bf16",
    "--unet-in-fp16",
    "--unet-in-fp8-e4m3fn",
    "--unet-in-fp8-e5m2",
    "--vae-in-fp16",
    "--vae-in-fp32",
    "--vae-in-bf16",
    "--vae-in-cpu",
    "--clip-in-fp8-e4m3fn",
    "--clip-in-fp8-e5m2",
    "--clip-in-fp16",
    "--clip-in-fp32",
    "--force-upcast-attention",
    "--disable-attention-upcast",
    "--always-gpu",
    "--always-high-vram",
    "--always-low-vram",
    "--always-no-vram",
    "--always-offload-from-vram",
    "--pytorch-deterministic",
    "--cuda-malloc",
    "--cuda-stream",
    "--pin-shared-memory",
    "--fast-fp16",
    "--fp16-accumulation",
    "--autotune",
)
"""Those that decide about the cost. A branch that lacks some passes them over."""

VAE_KEY = "decoder.conv_in.weight"
"""By it Forge knows a file that it puts in the place of a checkpoint's VAE."""

FUNCTIONS_PREFIX = "attention_"

DETERMINED = (
    *("architecture", "model", "weights", "attention", "weight_format"),
    *("sampler", "vae", "text_encoder"),
)
"""Fields of a condition that the model and its sampler determine; optimizations beside them."""


def attention_name() -> str:
    """The field's name of the attention that Forge has chosen."""
    name = attention.attention_function.__name__.removeprefix(FUNCTIONS_PREFIX)
    return FIELD_NAMES.get(name, name)


def dtype_name(dtype: Any) -> str:
    """The pack's short name of a torch dtype; what is none, as ``nf4``, keeps its name."""
    name = str(dtype).removeprefix("torch.")
    return SHORT_NAMES.get(name, name)


def weight_format(network: Any) -> str:
    """The format of the file that this pack has quantized, else that which most of the weights'
    bytes are stored in, whatever the settings say."""
    if hasattr(network, FORMAT):
        return str(getattr(network, FORMAT))
    sizes: Counter[str] = Counter()
    for parameter in network.parameters():
        sizes[_format_of(parameter)] += parameter.nbytes
    return sizes.most_common(1)[0][0] if sizes else ""


def model_bytes(network: Any) -> int:
    """Bytes of a network's weights as they are stored."""
    return sum(parameter.nbytes for parameter in network.parameters())


def sampling_facts(sampler: Any, steps: int) -> dict[str, Any]:
    """What a sampling is about to do, and the fields of a condition that its model determines.

    Args:
        sampler: Forge's, which holds the latent noise ``[batch, channels, ..., height, width]``.
        steps: of the schedule.
    """
    model = sd_models.model_data.get_sd_model()
    unet = model.forge_objects.unet
    shape, scale = sampler.last_latent.shape, processing.opt_f
    return {
        **model_facts(model),
        "width_px": int(shape[-1] * scale),
        "height_px": int(shape[-2] * scale),
        "batch_size": int(shape[0]),
        "frames": (shape[2] - 1) * 4 + 1 if len(shape) == 5 else 1,
        "steps": steps,
        "sampler": _name_of(sampler.funcname).removeprefix("sample_"),
        "model_bytes": model_bytes(unet.model.diffusion_model),
    }


def model_facts(model: Any) -> dict[str, str]:
    """The fields of a condition that a loaded model determines."""
    config, objects = model.model_config, model.forge_objects
    unet, vae, clip = objects.unet, objects.vae, objects.clip
    parts = clip.cond_stage_model.named_children()
    files = files_of(model)
    kind = type(vae.first_stage_model).__name__.removeprefix("Integrated")
    formats = ", ".join(f"{name} {weight_format(part)}" for name, part in parts)
    return {
        "architecture": family_name(type(config).__name__, config.unet_config),
        "model": Path(model.sd_checkpoint_info.filename).name,
        "weights": f"file {mark_of_files(files.model)}".strip(),
        "attention": attention_name(),
        "weight_format": weight_format(unet.model.diffusion_model),
        "optimizations": ", ".join(dict.fromkeys((*patches_of(unet), *_launch_options()))),
        "vae": f"{kind} {dtype_name(vae.vae_dtype)} {mark_of_files(files.vae)}".strip(),
        "text_encoder": f"{formats} {mark_of_files(files.text_encoder)}".strip(),
    }


class Files(NamedTuple):
    """The files that the parts of a model come from, where they are known."""

    model: tuple[str, ...]
    vae: tuple[str, ...]
    text_encoder: tuple[str, ...]


def files_of(model: Any) -> Files:
    """Of a loaded model: its checkpoint, and what Forge has put in place of parts of it.

    Where an added file does not tell what it holds, it may be either part.
    """
    checkpoint = str(model.sd_checkpoint_info.filename)
    added = sd_models.model_data.forge_loading_parameters.get("additional_modules") or ()
    kinds = {str(path): _holds_vae(str(path)) for path in added}
    vaes = [path for path, is_vae in kinds.items() if is_vae]
    encoders = [path for path, is_vae in kinds.items() if not is_vae]
    if None in kinds.values():
        return Files((checkpoint,), (), ())
    # Of several VAEs the last one takes the place of those before.
    return Files((checkpoint,), tuple(vaes[-1:]) or (checkpoint,), tuple(encoders) or (checkpoint,))


def _holds_vae(path: str) -> bool | None:
    """As Forge tells a VAE from a text encoder; ``None`` where the file's names cannot be read."""
    if not path.endswith(".safetensors"):
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return VAE_KEY in set(file.keys())
    except (OSError, SafetensorError):
        return None


def patches_of(unet: Any) -> Iterator[str]:
    """What extensions put on a model: where it hooks in, and whose it is."""
    if unet.lora_patches:
        yield "patched weights"
    for name, value in unet.model_options.items():
        if name != "transformer_options":
            for owner in _owners(value if isinstance(value, list) else [value]):
                yield f"{name} {owner}"
    transformer = unet.model_options.get("transformer_options", {})
    for name, functions in transformer.get("patches", {}).items():
        for owner in _owners(functions):
            yield f"{name} {owner}"
    for name, by_block in transformer.get("patches_replace", {}).items():
        for owner in _owners(by_block.values()):
            yield f"{name} {owner}"
    yield from unet.object_patches


def asked_condition(p: Any, facts: Iterable[dict[str, Any]]) -> Condition:
    """What a generation was asked for, with what is known of its model by ``facts``.

    Sizes and steps are left open: what its samplings were is counted.
    """
    known = list(facts)
    texts: dict[str, Any] = {
        name: _together(fact.get(name, "") for fact in known) for name in DETERMINED
    }
    parts = (part for fact in known for part in fact.get("optimizations", "").split(", "))
    return Condition(
        **texts,
        optimizations=", ".join(dict.fromkeys(filter(None, parts))),
        width_px=None,
        height_px=None,
        batch_size=p.batch_size * p.n_iter,
        steps=None,
        cfg=None,
        scheduler=scheduler_of(p),
        prompts=short_hash([p.prompt, p.negative_prompt]),
    )


def scheduler_of(p: Any) -> str:
    """The name of a generation's schedule in the field; ``automatic`` leaves it to the sampler."""
    label = getattr(p, "scheduler", None) or "Automatic"
    known = sd_schedulers.schedulers_map.get(label)
    return known.name if known is not None else str(label).lower()


def has_previews(p: Any) -> str:
    """Forge's live previews, which cost time within the steps, where its page asks for them."""
    if getattr(p, "is_api", False) or not shared.opts.live_previews_enable:
        return ""
    return f"live preview {shared.opts.show_progress_type}"


def _format_of(parameter: Any) -> str:
    """bitsandbytes and GGUF keep what a parameter is beside bytes that tell nothing."""
    quant_type = getattr(parameter, "quant_type", None)
    gguf = getattr(parameter, "gguf_cls", None)
    return str(quant_type or getattr(gguf, "__name__", "") or dtype_name(parameter.dtype))


def _launch_options() -> Iterator[str]:
    parsed = vars(args)
    for option in LAUNCH_OPTIONS:
        if parsed.get(option[2:].replace("-", "_")):
            yield option


def _owners(functions: Iterable[Any]) -> list[str]:
    """The class or function that each was made in, each once."""
    return list(dict.fromkeys(_name_of(function).split(".")[0] for function in functions))


def _name_of(function: Any) -> str:
    if isinstance(function, str):
        return function
    return str(getattr(function, "__qualname__", type(function).__name__))


def _together(names: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(name for name in names if name))
