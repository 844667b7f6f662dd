"""FLUX.2 klein: transformers of 3.9 and 9 B parameters with Qwen3 (Black Forest Labs, 2026)."""

from comfy.supported_models import Flux2
from comfy.supported_models_base import ClipTarget
from comfy.text_encoders import flux

from . import autoencoder
from .architecture import Architecture, Variant
from .weights import RESIDUAL_GAIN

LAST_LAYER_READ = 28
"""Its conditioning is of the text encoder's layers 9, 18 and 27: a tiny one has them too."""

_COMMON = {
    "image_model": "flux2",
    "mlp_ratio": 3.0,
    "theta": 2000,
    "in_channels": 128,
    "out_channels": 128,
    "vec_in_dim": None,
    "qkv_bias": False,
    "ops_bias": False,
    "global_modulation": True,
    "mlp_silu_act": True,
    "txt_ids_dims": [3],
    "default_ref_method": "index",
    "ref_index_scale": 10.0,
    "patch_size": 1,
    "guidance_embed": False,
    "yak_mlp": False,
    "txt_norm": False,
    "axes_dim": [32, 32, 32, 32],
}


def _architecture(encoder: str, d_text: int, tokenizer: type, **full: int) -> Architecture:
    """One size: the name of its text encoder and how wide that is, and the whole transformer."""

    def clip_target() -> ClipTarget:
        return ClipTarget(tokenizer, flux.klein_te(model_type=encoder))

    whole = Variant(
        unet_config={**_COMMON, **full, "context_in_dim": 3 * d_text},
        clip_target=clip_target,
        vae=autoencoder.kl_32,
    )
    tiny = Variant(
        unet_config={
            **_COMMON,
            "num_heads": 2,
            "hidden_size": 256,
            "context_in_dim": 3 * 64,
            "depth": 1,
            "depth_single_blocks": 2,
        },
        clip_target=clip_target,
        vae=lambda: autoencoder.kl_32(autoencoder.TINY_CHANNELS),
        text_encoder_config={
            f"{encoder}_model_config": {
                "hidden_size": 64,
                "intermediate_size": 256,
                "num_hidden_layers": LAST_LAYER_READ,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
            },
        },
    )
    return Architecture(
        supported_model=Flux2,
        variants={"tiny": tiny, "full": whole},
        gains=((r"(_attn\.proj|_mlp\.2|linear2)\.weight$", RESIDUAL_GAIN),),
    )


KLEIN_4B = _architecture(
    "qwen3_4b",
    2560,
    flux.KleinTokenizer,
    num_heads=24,
    hidden_size=3072,
    depth=5,
    depth_single_blocks=20,
)
KLEIN_9B = _architecture(
    "qwen3_8b",
    4096,
    flux.KleinTokenizer8B,
    num_heads=32,
    hidden_size=4096,
    depth=8,
    depth_single_blocks=24,
)
