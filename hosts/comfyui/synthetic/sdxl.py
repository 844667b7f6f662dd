"""Stable Diffusion XL: UNet of 2.57 B parameters, CLIP-L and CLIP-G (arXiv 2307.01952)."""

from comfy import sdxl_clip
from comfy.supported_models import SDXL
from comfy.supported_models_base import ClipTarget

from . import autoencoder, unet
from .architecture import Architecture, Variant


def _clip_target() -> ClipTarget:
    return ClipTarget(sdxl_clip.SDXLTokenizer, sdxl_clip.SDXLClipModel)


_COMMON = {**unet.UNET, "num_classes": "sequential", "use_linear_in_transformer": True}

_FULL = Variant(
    unet_config={
        **_COMMON,
        "adm_in_channels": 2816,
        "model_channels": 320,
        "num_res_blocks": [2, 2, 2],
        "transformer_depth": [0, 0, 2, 2, 10, 10],
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
        "transformer_depth_middle": 10,
        "channel_mult": [1, 2, 4],
        "context_dim": 2048,
    },
    clip_target=_clip_target,
    vae=autoencoder.kl_4,
)

_TINY = Variant(
    unet_config={
        **_COMMON,
        "adm_in_channels": 64 + 6 * 256,
        "model_channels": 64,
        "num_res_blocks": [1, 1, 1],
        "transformer_depth": [0, 1, 2],
        "transformer_depth_output": [0, 0, 1, 1, 2, 2],
        "transformer_depth_middle": 2,
        "channel_mult": [1, 2, 4],
        "context_dim": 128,
    },
    clip_target=_clip_target,
    vae=lambda: autoencoder.kl_4(autoencoder.TINY_CHANNELS),
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
    supported_model=SDXL,
    variants={"tiny": _TINY, "full": _FULL},
    gains=unet.GAINS,
    finish=unet.predict_the_noise,
)
