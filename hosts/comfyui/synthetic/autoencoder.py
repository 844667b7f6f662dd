"""The VAEs of the synthetic models, in the layout that ComfyUI detects.

``comfy.sd.VAE`` reads a VAE's configuration from its weights. Of the KL autoencoder it takes the
decoder's width from them and fixes the encoder's, so a tiny one has a thin decoder (about a
sixteenth of the multiplications) and the real encoder (34 M parameters), which text-to-image does
not run.
"""

from __future__ import annotations

import torch
from comfy.ldm.models.autoencoder import AutoencoderKL, AutoencodingEngine
from comfy.ldm.wan.vae import WanVAE

_KL = {
    "double_z": True,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}
TINY_CHANNELS = 32


def kl_4(decoder_channels: int = 128) -> torch.nn.Module:
    """The autoencoder of SD 1.5 and SDXL: 4 latent channels, with quantization convolutions."""
    encoder = {**_KL, "z_channels": 4}
    decoder = {**encoder, "ch": decoder_channels}
    return AutoencoderKL(embed_dim=4, ddconfig=encoder, decoder_ddconfig=decoder)


def kl_16(decoder_channels: int = 128) -> torch.nn.Module:
    """The autoencoder of Flux, Z-Image and SD 3.5: 16 latent channels."""
    encoder = {**_KL, "z_channels": 16}
    decoder = {**encoder, "ch": decoder_channels}
    module = "comfy.ldm.modules.diffusionmodules.model"
    return AutoencodingEngine(
        regularizer_config={"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"},
        encoder_config={"target": f"{module}.Encoder", "params": encoder},
        decoder_config={"target": f"{module}.Decoder", "params": decoder},
    )


def kl_32(decoder_channels: int = 128) -> torch.nn.Module:
    """The autoencoder of FLUX.2: 32 channels, four cells of which are one cell of the latent."""
    encoder = {**_KL, "z_channels": 32, "batch_norm_latent": True}
    decoder = {**encoder, "ch": decoder_channels}
    return AutoencoderKL(embed_dim=32, ddconfig=encoder, decoder_ddconfig=decoder)


def wan(channels: int = 96) -> torch.nn.Module:
    """The Wan 2.1 autoencoder, which Qwen-Image uses: 16 latent channels."""
    return WanVAE(
        dim=channels,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        image_channels=3,
        conv_out_channels=3,
        dropout=0.0,
    )
