"""Where a quantized model is kept, and what its file says."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file


@pytest.fixture
def folders(comfyui, tmp_path, monkeypatch):
    """ComfyUI's folders of diffusion models in its own order: first the old one."""
    import folder_paths

    found = [tmp_path / name for name in ("unet", "diffusion_models")]
    for folder in found:
        folder.mkdir()
    kind = (list(map(str, found)), {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", kind)
    return found


def test_the_folder_is_the_one_of_the_name_and_no_other_holds_the_file(folders):
    from wattbench.hosts.comfyui.quantized import new_model_path

    unet, diffusion_models = folders
    assert new_model_path("a") == diffusion_models / "a.safetensors"
    (unet / "a.safetensors").touch()
    with pytest.raises(FileExistsError, match=r"unet.a\.safetensors exists"):
        new_model_path("a")


def test_metadata_go_along_but_for_those_of_the_old_tensors(folders, tiny_models):
    """LTX and others are built by what the header's ``config`` says."""
    from wattbench.hosts.comfyui.quantized import new_model_path, save_model

    source = folders[1] / "source.safetensors"
    metadata = {"config": "{}", "modelspec.hash_sha256": "0x12", "_quantization_metadata": "{}"}
    save_file({"w": torch.zeros(1)}, source, metadata)
    target = new_model_path("kept")
    save_model(tiny_models("flux").model, target, "fp8", source)
    with safe_open(target, "pt") as file:
        assert file.metadata().keys() == {"config", "wattbench"}
