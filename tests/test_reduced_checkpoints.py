"""The reduced checkpoints load and sample through ComfyUI's stock loader nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture
def checkpoints(comfyui):
    """The module that writes them; it needs ComfyUI's classes."""
    from . import reduced_checkpoints

    return reduced_checkpoints


@pytest.fixture
def register(comfyui, tmp_path, monkeypatch):
    """Make the folder of the test the only one of each kind of model."""
    import folder_paths

    for kind in ("checkpoints", "vae", "diffusion_models"):
        paths = ([str(tmp_path)], {".safetensors"})
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, paths)
    with torch.inference_mode():
        yield tmp_path


def decode(comfyui, vae, latent) -> None:
    image = comfyui.VAEDecode().decode(vae, latent)[0]
    assert image.shape == (1, 64, 64, 3)
    assert image.isfinite().all()
    assert 0.3 < image.mean() < 0.7
    assert image.std() > 0.05


def bytes_on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_sdxl_checkpoint_and_vae(comfyui, checkpoints, register):
    checkpoints.write_sdxl_checkpoint(register / "sdxl.safetensors")
    checkpoints.write_sdxl_vae(register / "sdxl_vae.safetensors")
    model, clip, vae = comfyui.CheckpointLoaderSimple().load_checkpoint("sdxl.safetensors")
    assert type(model.model).__name__ == "SDXL"
    positive, negative = (comfyui.CLIPTextEncode().encode(clip, text)[0] for text in ("a cat", ""))
    assert positive[0][0].shape == (1, 77, 2048)
    assert not torch.equal(positive[0][0], negative[0][0])
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    (latent,) = comfyui.KSampler().sample(
        model, 1, 4, 7.0, "euler", "normal", positive, negative, latent
    )
    decode(comfyui, vae, latent)
    decode(comfyui, comfyui.VAELoader().load_vae("sdxl_vae.safetensors")[0], latent)


def test_z_image_in_float8_and_vae(comfyui, checkpoints, register):
    checkpoints.write_z_image_fp8(register / "z_image_turbo_fp8.safetensors")
    checkpoints.write_ae_vae(register / "ae.safetensors")
    (model,) = comfyui.UNETLoader().load_unet("z_image_turbo_fp8.safetensors", "default")
    assert type(model.model.model_config).__name__ == "ZImage"
    features = torch.randn(1, 10, 2560, generator=torch.Generator().manual_seed(0))
    text = [[features, {}]]
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    (latent,) = comfyui.KSampler().sample(
        model, 1, 2, 1.0, "res_multistep", "linear_quadratic", text, text, latent
    )
    decode(comfyui, comfyui.VAELoader().load_vae("ae.safetensors")[0], latent)
