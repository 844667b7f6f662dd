"""Stable Diffusion 1.5: UNet of 0.86 B parameters and CLIP-L (arXiv 2112.10752)."""

from comfy import sd1_clip
from comfy.supported_models import SD15
from comfy.supported_models_base import ClipTarget

from . import autoencoder, unet
from .architecture import Architecture, Variant


def _clip_target() -> ClipTarget:
    return ClipTarget(sd1_clip.SD1Tokenizer, sd1_clip.SD1ClipModel)


_COMMON = {**unet.UNET, "adm_in_channels": None, "use_linear_in_transformer": False}

_FULL = Variant(
    unet_config={
        **_COMMON,
        "model_channels": 320,
        "num_res_blocks": [2, 2, 2, 2],
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        "transformer_depth_middle": 1,
        "channel_mult": [1, 2, 4, 4],
        "context_dim": 768,
    },
    clip_target=_clip_target,
    vae=autoencoder.kl_4,
)

_TINY = Variant(
    unet_config={
        **_COMMON,
        "model_channels": 32,
        "num_res_blocks": [1, 1, 1, 1],
        "transformer_depth": [1, 1, 1, 0],
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 0, 0],
        "transformer_depth_middle": 1,
        "channel_mult": [1, 2, 4, 4],
        "context_dim": 64,
    },
    clip_target=_clip_target,
    vae=lambda: autoencoder.kl_4(autoencoder.TINY_CHANNELS),
    text_encoder_config={
        "clip_l_model_config": {
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_attention_heads": 1,
            "num_hidden_layers": 2,
        },
    },
)

ARCHITECTURE = Architecture(
    supported_model=SD15,
    variants={"tiny": _TINY, "full": _FULL},
    gains=unet.GAINS,
    finish=unet.predict_the_noise,
)
