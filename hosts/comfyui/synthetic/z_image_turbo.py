"""Z-Image Turbo: single-stream transformer of 6.15 B parameters and Qwen3-4B (arXiv 2511.22699)."""

from comfy.supported_models import ZImage
from comfy.supported_models_base import ClipTarget
from comfy.text_encoders import z_image

from . import autoencoder
from .architecture import Architecture, Variant
from .weights import RESIDUAL_GAIN


def _clip_target() -> ClipTarget:
    return ClipTarget(z_image.ZImageTokenizer, z_image.te())


_COMMON = {
    "image_model": "lumina2",
    "patch_size": 2,
    "in_channels": 16,
    "qk_norm": True,
    "axes_dims": [32, 48, 48],
    "axes_lens": [1536, 512, 512],
    "rope_theta": 256.0,
    "ffn_dim_multiplier": 8.0 / 3.0,
    "z_image_modulation": True,
    "time_scale": 1000.0,
    "allow_fp16": True,
    "pad_tokens_multiple": 32,
}

_FULL = Variant(
    unet_config={
        **_COMMON,
        "dim": 3840,
        "cap_feat_dim": 2560,
        "n_layers": 30,
        "n_heads": 30,
        "n_kv_heads": 30,
    },
    clip_target=_clip_target,
    vae=autoencoder.kl_16,
)

_TINY = Variant(
    unet_config={
        **_COMMON,
        "dim": 384,
        "cap_feat_dim": 64,
        "n_layers": 2,
        "n_heads": 3,
        "n_kv_heads": 3,
    },
    clip_target=_clip_target,
    vae=lambda: autoencoder.kl_16(autoencoder.TINY_CHANNELS),
    text_encoder_config={
        "qwen3_4b_model_config": {
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
        },
    },
)

ARCHITECTURE = Architecture(
    supported_model=ZImage,
    variants={"tiny": _TINY, "full": _FULL},
    gains=((r"(attention\.out|feed_forward\.w2)\.weight$", RESIDUAL_GAIN),),
)
