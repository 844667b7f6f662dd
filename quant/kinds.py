"""What a file is, told by the names of its tensors: what is no model is refused by what it is."""

from __future__ import annotations

from collections.abc import Iterable
from re import Pattern
from re import compile as pattern

LORA = "a LoRA"
QUANTIZE_MODEL = "LoRAs stay as they are: quantize the model that it is for, and connect Load LoRA"
ADAPTER = "it is small and stays as it is: quantize the model that it is for"

KINDS: tuple[tuple[str, str, Pattern[str]], ...] = (
    (
        LORA,
        QUANTIZE_MODEL,
        pattern(
            r"\.lora(_down|_up|_A|_B|_mid|_linear_layer)?\.|_lora\.(down|up)\.|\.lora_magnitude"
            r"|\.hada_w|\.lokr_w|\.oft_blocks|\.oft_diag|\.dora_scale|\.diff(_b)?$"
            r"|\.(a1|a2|b1|b2)\.weight$|^lora_(unet|te|transformer)|\.on_input$"
        ),
    ),
    (
        "an IP-Adapter",
        ADAPTER,
        pattern(r"^ip_adapter\.|\.(to_k_ip|to_v_ip)\.|^image_proj\.|^image_proj_model\."),
    ),
    (
        "a ControlNet",
        "ControlNets stay as they are: quantize the model that it controls",
        pattern(
            r"^control_model\.|^controlnet_|(^|\.)input_hint_block\.|(^|\.)zero_convs\."
            r"|^controlnet_cond_embedding\.|^controlnet_blocks\.|^adapter\.body\.|^lllite_"
            r"|^control_(blocks|layers|net)|^pos_embed_input\.|^after_proj_list\."
        ),
    ),
    (
        "a CLIP",
        "ComfyUI's loaders pass over the scales of a CLIP, and its result would be noise: Load "
        "Quantized CLIP quantizes the original while it loads",
        pattern(
            r"^(text_model|vision_model|clip_[lg]\.transformer\.text_model)\.(encoder|embeddings)"
            r"|^transformer\.resblocks\.|^visual\.transformer\."
        ),
    ),
    (
        "a VAE",
        "no format here touches convolutions, which is what a VAE is made of",
        pattern(r"^(decoder|encoder)\.(conv_in|up_blocks|down_blocks|mid|up|down)\."),
    ),
    (
        "an embedding (textual inversion)",
        "embeddings stay as they are",
        pattern(r"^(emb_params|string_to_param\.)"),
    ),
)
"""What a file is, what to do instead, and names of tensors that only such a file has."""

MODEL_PARTS = ("model.diffusion_model.", "first_stage_model.", "model.model.", "net.")
"""What names begin with in a checkpoint, whose parts may be called as above."""

OTHER_TOOLS: tuple[tuple[str, Pattern[str]], ...] = (
    ("bitsandbytes", pattern(r"\.SCB$|\.bitsandbytes__|\.absmax$|\.quant_map$")),
    ("Nunchaku, GPTQ or AWQ", pattern(r"\.(qweight|qzeros|wscales|proj_down)$")),
    ("torchao", pattern(r"_weight_qdata$|:_data:|\.weight_int_data$")),
    ("quanto", pattern(r"\.weight\._(data|scale|shift)$|\._data\._data$")),
    ("HQQ", pattern(r"\.W_q$")),
    ("compressed-tensors", pattern(r"\.weight_packed$")),
    ("SDNQ", pattern(r"\.(svd_up|svd_down|zero_point)$")),
)
"""Tools whose files ComfyUI does not read, and names of tensors that only those hold."""


def not_a_model(names: Iterable[str]) -> tuple[str, str] | None:
    """What a file is that is no diffusion model and no text encoder, and what to do instead."""
    names = list(names)
    is_checkpoint = any(name.startswith(MODEL_PARTS) for name in names)
    for kind, remedy, mark in KINDS:
        if (kind == LORA or not is_checkpoint) and any(mark.search(name) for name in names):
            return kind, remedy
    return None


def other_tool(names: Iterable[str]) -> str:
    """Which tool quantized a file in a way that ComfyUI does not read; empty if none did."""
    for name in names:
        for tool, mark in OTHER_TOOLS:
            if mark.search(name):
                return f"{tool} stores weights as {name}"
    return ""
