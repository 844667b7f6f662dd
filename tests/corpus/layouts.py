"""Model files in every layout that tools write, made of the weights of one tiny model.

A layout is a function from weights (bf16, by ComfyUI's names) to the tensors and metadata of a
file. ``docs/files.md`` lists them: what ComfyUI does with each, and what WattBench does.
"""

import json

import torch

from wattbench.quant.base import encode_config

PREFIX = "model.diffusion_model."
CHOSEN = ".img_mlp."
"""Part of the names of the layers that a layout quantizes."""

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


def chosen(weights):
    """The layers that a layout quantizes, by name."""
    return [n.removesuffix(".weight") for n in weights if CHOSEN in n and n.endswith(".weight")]


def scaled(weight, parts, dtype=E4M3):
    """``weight`` and one scale per part: ``parts`` are its rows and columns of scales.

    Blocks at the end of a row or column may be smaller, as fine-grained FP8 has them.
    """
    rows, columns = parts
    heights = [len(p) for p in torch.arange(weight.shape[0]).split(-(-weight.shape[0] // rows))]
    widths = [len(p) for p in torch.arange(weight.shape[1]).split(-(-weight.shape[1] // columns))]
    top = torch.finfo(dtype).max if dtype.is_floating_point else 127
    wide = weight.float()
    blocks = [part.split(widths, 1) for part in wide.split(heights)]
    scales = torch.stack([torch.stack([b.abs().max() / top for b in row]) for row in blocks])
    spread = scales.repeat_interleave(torch.tensor(heights), 0)
    spread = spread.repeat_interleave(torch.tensor(widths), 1)
    numbers = wide / spread
    return (numbers if dtype.is_floating_point else numbers.round()).to(dtype), scales


def quantized(weights, suffix, parts=lambda w: (1, 1), shape=None, dtype=E4M3, config=None):
    """``weights`` with the chosen layers in 8 bits and their scales under ``suffix``."""
    tensors = dict(weights)
    for name in chosen(weights):
        data, scales = scaled(weights[f"{name}.weight"], parts(weights[f"{name}.weight"]), dtype)
        tensors[f"{name}.weight"] = data
        tensors[f"{name}.{suffix}"] = scales.reshape(()) if shape is None else shape(scales)
        if config is not None:
            tensors[f"{name}.comfy_quant"] = encode_config(config)
    return tensors


def per_row(weight):
    return len(weight), 1


def per_part(weight):
    return len(weight), weight.shape[1] // 64


def per_block(weight):
    return -(-weight.shape[0] // 128), -(-weight.shape[1] // 128)


def flat(scales):
    return scales.reshape(-1)


def as_is(scales):
    return scales


def header(names, config):
    layers = dict.fromkeys(names, config)
    return {"_quantization_metadata": json.dumps({"layers": layers})}


def old(weights, mark, dtype=E4M3):
    return {**quantized(weights, "scale_weight", dtype=dtype), "scaled_fp8": mark}


FP8 = {"format": "float8_e4m3fn"}
INT8 = {"format": "int8_tensorwise"}


def prefixed(tensors):
    return {f"{PREFIX}{name}": tensor for name, tensor in tensors.items()}


READ = {
    "comfy_quant": lambda w: (quantized(w, "weight_scale", config=FP8), {}),
    "comfy_quant with a row of bytes": lambda w: (with_rows_of_bytes(w), {}),
    "header": lambda w: (quantized(w, "weight_scale"), header(chosen(w), FP8)),
    "header, names of a checkpoint": lambda w: (
        prefixed(quantized(w, "weight_scale")),
        header([f"{PREFIX}{name}" for name in chosen(w)], FP8),
    ),
    "header, short names in a checkpoint": lambda w: (
        prefixed(quantized(w, "weight_scale")),
        header(chosen(w), FP8),
    ),
    "scaled_fp8": lambda w: (old(w, torch.zeros(0, dtype=E4M3)), {}),
    "scaled_fp8, widened": lambda w: (old(w, torch.zeros(2, dtype=E4M3)), {}),
    "scaled_fp8, E5M2": lambda w: (old(w, torch.zeros(0, dtype=E5M2), E5M2), {}),
    "scaled_fp8 in a checkpoint": lambda w: (prefixed(old(w, torch.zeros(0, dtype=E4M3))), {}),
    "scale_weight, no mark": lambda w: (quantized(w, "scale_weight"), {}),
    "weight_scale, no mark": lambda w: (quantized(w, "weight_scale"), {}),
    "weight_scale and input_scale, no mark": lambda w: (with_input_scales(w), {}),
    "weight_scale, no mark, E5M2": lambda w: (quantized(w, "weight_scale", dtype=E5M2), {}),
    "weight_scale_inv": lambda w: (quantized(w, "weight_scale_inv"), {}),
    "weight_scale_inv per block": lambda w: (
        quantized(w, "weight_scale_inv", per_block, as_is),
        {},
    ),
    "fp8 per row [out]": lambda w: (quantized(w, "weight_scale", per_row, flat, config=FP8), {}),
    "fp8 per row [out, 1]": lambda w: (
        quantized(w, "weight_scale", per_row, as_is, config=FP8),
        {},
    ),
    "fp8 per row, no mark": lambda w: (quantized(w, "weight_scale", per_row, flat), {}),
    "fp8 per part of a row": lambda w: (
        quantized(w, "weight_scale", per_part, as_is, config=FP8),
        {},
    ),
    "fp8 per part of a row [out, parts, 1]": lambda w: (
        quantized(w, "weight_scale", per_part, lambda s: s.unsqueeze(-1), config=FP8),
        {},
    ),
    "fp8 per block": lambda w: (quantized(w, "weight_scale", per_block, as_is, config=FP8), {}),
    "fp8 on a square layer [out]": lambda w: (on_a_square(w), {}),
    "int8": lambda w: (quantized(w, "weight_scale", dtype=torch.int8, config=INT8), {}),
    "int8 per row [out]": lambda w: (
        quantized(w, "weight_scale", per_row, flat, torch.int8, INT8),
        {},
    ),
    "int8 per row [out, 1]": lambda w: (
        quantized(w, "weight_scale", per_row, as_is, torch.int8, INT8),
        {},
    ),
}
"""Layouts that load, by name."""


def with_rows_of_bytes(weights):
    tensors = quantized(weights, "weight_scale", config=FP8)
    marks = [name for name in tensors if name.endswith(".comfy_quant")]
    return {**tensors, **{name: tensors[name].reshape(1, -1) for name in marks}}


def with_input_scales(weights):
    """Static, as Model Optimizer and compressed-tensors write them: wide enough for any input."""
    tensors = quantized(weights, "weight_scale")
    return {**tensors, **{f"{name}.input_scale": torch.tensor([0.25]) for name in chosen(weights)}}


SQUARE = "double_blocks.0.img_attn.proj"


def on_a_square(weights):
    """Rows of very unlike sizes: who multiplies columns by their scales is far off."""
    data, scales = scaled(weights[f"{SQUARE}.weight"], (len(weights[f"{SQUARE}.weight"]), 1))
    return {
        **weights,
        f"{SQUARE}.weight": data,
        f"{SQUARE}.weight_scale": scales.reshape(-1),
        f"{SQUARE}.comfy_quant": encode_config(FP8),
    }


def changed(weights, suffix, tensor, **keywords):
    """One layer has ``tensor`` under ``suffix`` besides."""
    tensors = quantized(weights, keywords.pop("scale", "weight_scale"), **keywords)
    return {**tensors, f"{chosen(weights)[0]}.{suffix}": tensor}


def by_column(weights):
    """No tool is known that scales columns."""
    return quantized(weights, "weight_scale", lambda w: (1, w.shape[1]), as_is, config=FP8)


def empty(weights):
    name = chosen(weights)[0]
    tensors = quantized(weights, "weight_scale", config=FP8)
    return {**tensors, f"{name}.weight": torch.zeros((0, 256), dtype=E4M3)}


REFUSED = {
    "SDNQ": (
        lambda w: (quantized(w, "scale", per_row, as_is), {}),
        r"has scale, the layout of SDNQ",
    ),
    "SDNQ, int8": (
        lambda w: (quantized(w, "scale", per_row, as_is, torch.int8), {}),
        r"are I8, and nothing says how to read, as SDNQ writes it",
    ),
    "Model Optimizer's NVFP4": (
        lambda w: (changed(w, "weight_scale_2", torch.tensor(1.0)), {}),
        r"has weight_scale_2, the layout of NVFP4 of NVIDIA's Model Optimizer",
    ),
    "a scale that is not known": (
        lambda w: (changed(w, "row_scales", torch.ones(4), config=FP8), {}),
        r"img_mlp\.0 has row_scales beside float8_e4m3fn",
    ),
    "quanto": (
        lambda w: (changed(w, "weight._data", torch.ones(4)), {}),
        r"quanto stores weights as",
    ),
    "HQQ": (lambda w: (changed(w, "W_q", torch.ones(4)), {}), r"HQQ stores weights as"),
    "scales per column": (by_column, r"scales are F32 of shape \[1, \d+\]: known are one number"),
    "scale_input of several elements": (
        lambda w: (changed(w, "scale_input", torch.ones(4), scale="scale_weight"), {}),
        r"img_mlp\.0 has scale_input with 4 elements",
    ),
    "comfy_quant of another type": (
        lambda w: (changed(w, "comfy_quant", torch.ones(4)), {}),
        r"img_mlp\.0\.comfy_quant: .* no JSON",
    ),
    "blocks of GGUF in a header": (
        lambda w: (quantized(w, "weight_scale"), header(chosen(w), {"format": "gguf:Q4_K"})),
        r"gguf:Q4_K names blocks of a GGUF file",
    ),
    "int8_blockwise": (
        lambda w: (quantized(w, "weight_scale"), header(chosen(w), {"format": "int8_blockwise"})),
        r"img_mlp\.0 is stored as int8_blockwise, which neither",
    ),
    "float8_e4m3fn_rowwise": (
        lambda w: (
            quantized(w, "weight_scale", per_row, as_is),
            header(chosen(w), {"format": "float8_e4m3fn_rowwise"}),
        ),
        r"img_mlp\.0 is stored as float8_e4m3fn_rowwise, which neither",
    ),
    "an empty matrix": (lambda w: (empty(w), {}), r"img_mlp\.0 is float8_e4m3fn of shape \[0"),
    "a missing scale": (
        lambda w: (
            {
                k: t
                for k, t in quantized(w, "weight_scale", config=FP8).items()
                if "_scale" not in k
            },
            {},
        ),
        r"img_mlp\.0 has no weight_scale: the file is incomplete",
    ),
    "a weight of another type": (
        lambda w: ({**w, f"{chosen(w)[0]}.comfy_quant": encode_config(FP8)}, {}),
        r"img_mlp\.0 is said to be float8_e4m3fn, whose weights are F8_E4M3, and is BF16",
    ),
}
"""Layouts that are refused, and what the refusal says."""

NO_MODELS = {
    "LoRA": ("blocks.0.attn.lora_down.weight", "a LoRA"),
    "LoRA, old names of diffusers": (
        "unet.mid_block.attentions.0.processor.to_q_lora.down.weight",
        "a LoRA",
    ),
    "LoRA of kohya": ("lora_unet_input_blocks_1_1_proj_in.lora_up.weight", "a LoRA"),
    "GLoRA": ("lora_unet_input_blocks_1_1_proj_in.a1.weight", "a LoRA"),
    "GLoRA, bare": ("diffusion_model.blocks.0.attn.b2.weight", "a LoRA"),
    "LoHa": ("blocks.0.attn.hada_w1_a", "a LoRA"),
    "LoKr": ("blocks.0.attn.lokr_w2", "a LoRA"),
    "full difference": ("diffusion_model.blocks.0.attn.diff", "a LoRA"),
    "IP-Adapter": ("ip_adapter.1.to_k_ip.weight", "an IP-Adapter"),
    "ControlNet": ("control_model.input_hint_block.0.weight", "a ControlNet"),
    "ControlNet of diffusers": ("controlnet_cond_embedding.conv_in.weight", "a ControlNet"),
    "ControlNet of Flux": ("controlnet_blocks.0.weight", "a ControlNet"),
    "CLIP": ("text_model.encoder.layers.0.mlp.fc1.weight", "a CLIP"),
    "CLIP of OpenAI": ("transformer.resblocks.0.mlp.c_fc.weight", "a CLIP"),
    "CLIP vision": ("vision_model.encoder.layers.0.mlp.fc1.weight", "a CLIP"),
    "VAE": ("decoder.mid.attn_1.k.weight", "a VAE"),
}
"""Names of tensors that only such a file has, and what the converter calls it."""
