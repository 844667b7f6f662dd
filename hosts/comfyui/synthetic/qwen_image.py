"""Qwen-Image: MMDiT of 20.4 B parameters, Qwen2.5-VL-7B, Wan 2.1 VAE (arXiv 2508.02324)."""

from comfy.supported_models import QwenImage
from comfy.supported_models_base import ClipTarget
from comfy.text_encoders import qwen_image

from . import autoencoder
from .architecture import Architecture, Variant
from .weights import RESIDUAL_GAIN


class _TextOnlyEncoder(qwen_image.QwenImageTEModel):
    """The encoder without its vision tower, which text-to-image does not run.

    ComfyUI fixes the tower's size (0.67 B parameters), far too much for the tiny variant.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        del self.qwen25_7b.transformer.visual


_FULL = Variant(
    unet_config={"image_model": "qwen_image", "in_channels": 64, "num_layers": 60},
    clip_target=lambda: ClipTarget(qwen_image.QwenImageTokenizer, qwen_image.te()),
    vae=autoencoder.wan,
)

_TINY = Variant(
    unet_config={
        "image_model": "qwen_image",
        "in_channels": 64,
        "num_layers": 2,
        "num_attention_heads": 2,
        "joint_attention_dim": 64,
    },
    clip_target=lambda: ClipTarget(qwen_image.QwenImageTokenizer, _TextOnlyEncoder),
    vae=lambda: autoencoder.wan(autoencoder.TINY_CHANNELS),
    text_encoder_config={
        "qwen25_7b_model_config": {
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
        },
    },
)

ARCHITECTURE = Architecture(
    supported_model=QwenImage,
    variants={"tiny": _TINY, "full": _FULL},
    gains=((r"(to_out\.0|to_add_out|_mlp\.net\.2)\.weight$", RESIDUAL_GAIN),),
)
