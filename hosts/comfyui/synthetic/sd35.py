"""Stable Diffusion 3.5 Large: MMDiT of 8.06 B parameters, two CLIPs, T5-XXL (arXiv 2403.03206).

ComfyUI joins the encoders' features at T5-XXL's width of 4096, so the tiny size, which cannot make
T5 thin, goes without it; ComfyUI runs SD 3.5 without T5 too.
"""

from comfy.supported_models import SD3
from comfy.supported_models_base import ClipTarget
from comfy.text_encoders import sd3_clip

from . import autoencoder
from .architecture import Architecture, Variant
from .weights import RESIDUAL_GAIN

_CONTEXT_WIDTH = 4096


def _unet_config(depth: int, pooled_width: int, position_grid: int) -> dict:
    width = 64 * depth
    return {
        "in_channels": 16,
        "patch_size": 2,
        "out_channels": 16,
        "depth": depth,
        "input_size": None,
        "adm_in_channels": pooled_width,
        "context_embedder_config": {
            "target": "torch.nn.Linear",
            "params": {"in_features": _CONTEXT_WIDTH, "out_features": width},
        },
        "num_patches": position_grid**2,
        "pos_embed_max_size": position_grid,
        "qk_norm": "rms",
        "pos_embed_scaling_factor": None,
        "x_block_self_attn_layers": [],
    }


_FULL = Variant(
    unet_config=_unet_config(depth=38, pooled_width=2048, position_grid=192),
    clip_target=lambda: ClipTarget(sd3_clip.SD3Tokenizer, sd3_clip.sd3_clip()),
    vae=autoencoder.kl_16,
)

_TINY = Variant(
    unet_config=_unet_config(depth=3, pooled_width=128, position_grid=64),
    clip_target=lambda: ClipTarget(sd3_clip.SD3Tokenizer, sd3_clip.sd3_clip(t5=False)),
    vae=lambda: autoencoder.kl_16(autoencoder.TINY_CHANNELS),
    text_encoder_config={
        "clip_l_model_config": {
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_attention_heads": 1,
            "num_hidden_layers": 3,
        },
        "clip_g_model_config": {
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_attention_heads": 1,
            "num_hidden_layers": 3,
            "projection_dim": 64,
        },
    },
)

ARCHITECTURE = Architecture(
    supported_model=SD3,
    variants={"tiny": _TINY, "full": _FULL},
    gains=((r"(attn\.proj|mlp\.fc2)\.weight$", RESIDUAL_GAIN),),
)
