"""Flux.1 dev: transformer of 11.9 B parameters, CLIP-L and T5-XXL (Black Forest Labs, 2024)."""

from comfy.supported_models import Flux
from comfy.supported_models_base import ClipTarget
from comfy.text_encoders import flux

from . import autoencoder
from .architecture import Architecture, Variant
from .weights import RESIDUAL_GAIN


def _clip_target() -> ClipTarget:
    return ClipTarget(flux.FluxTokenizer, flux.flux_clip())


_COMMON = {
    "image_model": "flux",
    "mlp_ratio": 4.0,
    "theta": 10000,
    "in_channels": 16,
    "out_channels": 16,
    "qkv_bias": True,
    "txt_ids_dims": [],
    "patch_size": 2,
    "guidance_embed": True,
    "yak_mlp": False,
    "txt_norm": False,
    "axes_dim": [16, 56, 56],
}

_FULL = Variant(
    unet_config={
        **_COMMON,
        "num_heads": 24,
        "hidden_size": 3072,
        "context_in_dim": 4096,
        "vec_in_dim": 768,
        "depth": 19,
        "depth_single_blocks": 38,
    },
    clip_target=_clip_target,
    vae=autoencoder.kl_16,
)

_TINY = Variant(
    unet_config={
        **_COMMON,
        "num_heads": 2,
        "hidden_size": 256,
        "context_in_dim": 64,
        "vec_in_dim": 64,
        "depth": 1,
        "depth_single_blocks": 2,
    },
    clip_target=_clip_target,
    vae=lambda: autoencoder.kl_16(autoencoder.TINY_CHANNELS),
    text_encoder_config={
        "clip_l_model_config": {
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_attention_heads": 1,
            "num_hidden_layers": 2,
        },
        "t5xxl_model_config": {"d_model": 64, "d_ff": 256, "num_heads": 1, "num_layers": 2},
    },
)

ARCHITECTURE = Architecture(
    supported_model=Flux,
    variants={"tiny": _TINY, "full": _FULL},
    gains=((r"(_attn\.proj|_mlp\.2|linear2)\.weight$", RESIDUAL_GAIN),),
)
