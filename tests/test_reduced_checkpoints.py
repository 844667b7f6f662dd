"""The reduced checkpoints load and sample through ComfyUI's stock loader nodes."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def register(comfyui, tmp_path, monkeypatch):
    """Make the folder of the test the only one of each kind of model."""
    for kind in ("checkpoints", "vae", "diffusion_models"):
        paths = ([str(tmp_path)], {".safetensors"})
        monkeypatch.setitem(comfyui.folder_paths.folder_names_and_paths, kind, paths)
    with torch.inference_mode():
        yield tmp_path


def decode(comfyui, vae, latent) -> None:
    image = comfyui.nodes.VAEDecode().decode(vae, latent)[0]
    assert image.shape == (1, 64, 64, 3)
    assert image.isfinite().all()
    assert 0.3 < image.mean() < 0.7
    assert image.std() > 0.05


def test_sdxl_checkpoint_and_vae(comfyui, register):
    from reduced_checkpoints import write_sdxl_checkpoint, write_sdxl_vae

    write_sdxl_checkpoint(register / "sdxl.safetensors")
    write_sdxl_vae(register / "sdxl_vae.safetensors")
    nodes = comfyui.nodes
    model, clip, vae = nodes.CheckpointLoaderSimple().load_checkpoint("sdxl.safetensors")
    assert type(model.model).__name__ == "SDXL"
    positive, negative = (nodes.CLIPTextEncode().encode(clip, text)[0] for text in ("a cat", ""))
    assert positive[0][0].shape == (1, 77, 2048)
    assert not torch.equal(positive[0][0], negative[0][0])
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    (latent,) = nodes.KSampler().sample(
        model, 1, 4, 7.0, "euler", "normal", positive, negative, latent
    )
    decode(comfyui, vae, latent)
    decode(comfyui, nodes.VAELoader().load_vae("sdxl_vae.safetensors")[0], latent)


def test_z_image_in_float8_and_vae(comfyui, register):
    from reduced_checkpoints import write_ae_vae, write_z_image_fp8

    write_z_image_fp8(register / "z_image_turbo_fp8.safetensors")
    write_ae_vae(register / "ae.safetensors")
    nodes = comfyui.nodes
    (model,) = nodes.UNETLoader().load_unet("z_image_turbo_fp8.safetensors", "default")
    assert type(model.model.model_config).__name__ == "ZImage"
    features = torch.randn(1, 10, 2560, generator=torch.Generator().manual_seed(0))
    text = [[features, {}]]
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    (latent,) = nodes.KSampler().sample(
        model, 1, 2, 1.0, "res_multistep", "linear_quadratic", text, text, latent
    )
    decode(comfyui, nodes.VAELoader().load_vae("ae.safetensors")[0], latent)
