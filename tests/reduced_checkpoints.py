"""Reduced checkpoints in the real file layout, for tests that load them by ComfyUI's own loaders.

Real key names, shapes that ComfyUI's detection accepts, random weights. Where a shape is fixed by
ComfyUI (the CLIPs of SDXL, the width of Z-Image) the large matrices are zeros and are left out of
the file as holes: the file is sparse, and writing it takes a second. A transformer block of zeros
hands its input on, so the pictures stay finite.

Import this inside a test that has the fixture ``comfyui``: it needs ComfyUI on ``sys.path``.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch

from wattbench.hosts.comfyui.synthetic import autoencoder, unet
from wattbench.hosts.comfyui.synthetic.architecture import Weights
from wattbench.hosts.comfyui.synthetic.weights import RandomWeights, blank_tensors

HOLE_ABOVE = 2**24
"""Matrices of more elements than this are left as zeros in ``write_z_image_fp8``."""

_SAFETENSORS_DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float8_e4m3fn: "F8_E4M3"}

Shapes = dict[str, tuple[int, ...]]


def write_safetensors(path: Path, weights: Weights, zeros: Shapes, dtype: torch.dtype) -> None:
    """Write ``weights`` (cast to ``dtype``) and holes for ``zeros`` as one safetensors file."""
    shapes = {**{name: tuple(tensor.shape) for name, tensor in weights.items()}, **zeros}
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + torch.Size(shape).numel() * dtype.itemsize
        header[name] = {
            "dtype": _SAFETENSORS_DTYPES[dtype],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    origin = 8 + len(text)
    with path.open("wb") as file:
        file.truncate(origin + end)
        file.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in weights.items():
            file.seek(origin + header[name]["data_offsets"][0])
            file.write(tensor.to(dtype).contiguous().view(torch.uint8).numpy())


def write_sdxl_checkpoint(path: Path, seed: int = 0) -> None:
    """UNet, both CLIPs and VAE in one fp16 file, as ``sd_xl_base_1.0.safetensors`` has them.

    The UNet has 320 channels at every level and no attention on its way up; the CLIPs, whose
    shapes ComfyUI fixes, are embeddings followed by blocks of zeros.
    """
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import disable_weight_init

    model = UNetModel(
        **unet.UNET,
        num_classes="sequential",
        use_linear_in_transformer=True,
        adm_in_channels=2816,
        model_channels=320,
        num_res_blocks=[2, 2, 2],
        transformer_depth=[0, 0, 2, 2, 10, 10],
        transformer_depth_output=[0] * 9,
        transformer_depth_middle=-1,
        channel_mult=[1, 1, 1],
        context_dim=2048,
        num_heads=-1,
        num_head_channels=64,
        device="meta",
        dtype=torch.float16,
        operations=disable_weight_init,
    )
    denoiser = RandomWeights(seed).draw(model, unet.GAINS)
    unet.predict_the_noise(denoiser)
    weights = {f"model.diffusion_model.{name}": tensor for name, tensor in denoiser.items()}
    for name, tensor in _vae_weights(autoencoder.kl_4, seed).items():
        weights[f"first_stage_model.{name}"] = tensor
    clips, zeros = _sdxl_clips(seed)
    write_safetensors(path, {**weights, **clips}, zeros, torch.float16)


def write_sdxl_vae(path: Path, seed: int = 0) -> None:
    """The VAE alone in fp16, in the layout of stabilityai's ``sdxl_vae.safetensors``."""
    write_safetensors(path, _vae_weights(autoencoder.kl_4, seed), {}, torch.float16)


def write_ae_vae(path: Path, seed: int = 0) -> None:
    """The VAE of Flux and Z-Image in fp16, in the layout of ``ae.safetensors``."""
    write_safetensors(path, _vae_weights(autoencoder.kl_16, seed), {}, torch.float16)


def write_z_image_fp8(path: Path, seed: int = 0, text_features: int = 2560) -> None:
    """A Z-Image diffusion model of one layer, every tensor in float8_e4m3fn without scales.

    ``text_features`` is the width of its text encoder; Qwen3-4B's is 2560.
    """
    from comfy.ldm.lumina.model import NextDiT
    from comfy.ops import disable_weight_init

    from wattbench.hosts.comfyui.synthetic import z_image_turbo

    config = z_image_turbo.ARCHITECTURE.variants["full"].unet_config
    model = NextDiT(
        **{**config, "n_layers": 1, "cap_feat_dim": text_features},
        device="meta",
        dtype=torch.float8_e4m3fn,
        operations=disable_weight_init,
    )
    blanks = {name: shape for name, (shape, _) in blank_tensors(model).items()}
    zeros = {name: tuple(shape) for name, shape in blanks.items() if shape.numel() > HOLE_ABOVE}
    small = torch.nn.ParameterDict()
    for name in blanks.keys() - zeros.keys():
        small[name.replace(".", "/")] = torch.empty(blanks[name], device="meta")
    drawn = RandomWeights(seed).draw(small)
    weights = {name.replace("/", "."): tensor for name, tensor in drawn.items()}
    write_safetensors(path, weights, zeros, torch.float8_e4m3fn)


def _vae_weights(family, seed: int) -> Weights:
    with torch.device("meta"):
        model = family(autoencoder.TINY_CHANNELS)
    return RandomWeights(seed).draw(model)


def _sdxl_clips(seed: int) -> tuple[Weights, Shapes]:
    """Both CLIPs, named by ComfyUI's own code for saving a checkpoint: weights and zeros."""
    from comfy.sdxl_clip import SDXLClipModel

    from wattbench.hosts.comfyui.synthetic import sdxl

    architecture = sdxl.ARCHITECTURE
    config = architecture.supported_model(dict(architecture.variants["full"].unet_config))
    encoder = SDXLClipModel(device="meta", dtype=torch.float16)
    saved = config.process_clip_state_dict_for_saving(encoder.state_dict())
    random = torch.Generator().manual_seed(seed)
    weights, zeros = {}, {}
    for name, blank in saved.items():
        if "embedding" in name or name.endswith("text_projection"):
            if blank.is_floating_point():
                weights[name] = torch.randn(blank.shape, generator=random)
        elif blank.ndim == 1 and name.endswith("weight"):
            weights[name] = torch.ones(blank.shape)
        elif blank.ndim > 0:
            zeros[name] = tuple(blank.shape)
    return weights, zeros


def write_sd15_checkpoint(path: Path, seed: int = 0) -> None:
    """UNet, CLIP-L and VAE in one fp16 file, as ``v1-5-pruned-emaonly.safetensors`` has them.

    The UNet has one level of 320 channels; the others are whole, because Forge takes their shapes
    from files of its own. 466 MB.
    """
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import disable_weight_init
    from comfy.sd1_clip import SDClipModel

    model = UNetModel(
        **unet.UNET,
        use_linear_in_transformer=False,
        adm_in_channels=None,
        model_channels=320,
        num_res_blocks=[1],
        transformer_depth=[1],
        transformer_depth_output=[1, 1],
        transformer_depth_middle=1,
        channel_mult=[1],
        context_dim=768,
        num_heads=8,
        num_head_channels=-1,
        device="meta",
        dtype=torch.float16,
        operations=disable_weight_init,
    )
    denoiser = RandomWeights(seed).draw(model, unet.GAINS)
    unet.predict_the_noise(denoiser)
    weights = {f"model.diffusion_model.{name}": tensor for name, tensor in denoiser.items()}
    with torch.device("meta"):
        vae = autoencoder.kl_4()
    for name, tensor in RandomWeights(seed).draw(vae).items():
        weights[f"first_stage_model.{name}"] = tensor
    clip = SDClipModel(device="meta", dtype=torch.float16)
    for name, tensor in RandomWeights(seed).draw(clip).items():
        if name.startswith("transformer."):
            weights[f"cond_stage_model.{name}"] = tensor
    write_safetensors(path, weights, {}, torch.float16)
