"""Tiny synthetic models, and a replayed meter that gives 100 W."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def inference_mode():
    """ComfyUI executes nodes in inference mode."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def tiny_models(comfyui):
    """A function that builds a tiny synthetic model once per architecture."""
    from wattbench.hosts.comfyui.synthetic import build

    built = {}

    def models(architecture="sdxl"):
        if architecture not in built:
            with torch.inference_mode():
                built[architecture] = build(architecture, "tiny", "fp32", 0)
        return built[architecture]

    return models


@pytest.fixture(scope="session")
def hundred_watts(comfyui):
    """In ComfyUI's input folder, from which a graph may name a trace."""
    import folder_paths

    path = Path(folder_paths.get_input_directory()) / "hundred.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("t_s,power_w\n0,100\n3600,100\n", encoding="utf-8")
    return f"replay:{path}"


@pytest.fixture
def conditioning(comfyui, tiny_models):
    """Positive and negative conditioning and an empty latent of 64 x 64 pixels, for sdxl."""
    clip = tiny_models().clip
    encode = comfyui.CLIPTextEncode().encode
    (latent,) = comfyui.EmptyLatentImage().generate(64, 64, 1)
    return {
        "positive": encode(clip, "a moth")[0],
        "negative": encode(clip, "")[0],
        "latent_image": latent,
    }


@pytest.fixture
def workspace_folder(comfyui, tmp_path, monkeypatch):
    """ComfyUI's output and temporary folders, in a temporary place."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    return tmp_path / "output"
