"""A tiny Flux in files, and what loads and samples them."""

import gguf
import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture
def models_folder(comfyui, tmp_path, monkeypatch):
    """ComfyUI's model folders, in a temporary place."""
    import folder_paths

    for kind in ("diffusion_models", "checkpoints", "text_encoders"):
        folder = tmp_path / kind
        folder.mkdir()
        _, suffixes = folder_paths.folder_names_and_paths[kind]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(folder)], suffixes))
    return tmp_path


@pytest.fixture(scope="module")
def flux_weights(tiny_models):
    """The weights of a tiny Flux, which ComfyUI's model detection knows, in bf16."""
    with torch.inference_mode():
        state = tiny_models("flux").model.model.diffusion_model.state_dict()
        return {name: tensor.to(torch.bfloat16).clone() for name, tensor in state.items()}


@pytest.fixture
def flux(models_folder, flux_weights):
    save_file(flux_weights, models_folder / "diffusion_models" / "flux.safetensors")
    return "diffusion_models/flux.safetensors"


@pytest.fixture
def load():
    """A function that executes the node."""
    from wattbench.nodes.quantized import WattBenchLoadQuantized

    def load(file, weight_format="as stored", layers="", save_as="", compute_dtype="auto"):
        output = WattBenchLoadQuantized.execute(
            file=file,
            weight_format=weight_format,
            compute_dtype=compute_dtype,
            layers=layers,
            save_as=save_as,
        )
        return output.result[0]

    return load


@pytest.fixture(scope="module")
def text(comfyui, tiny_models):
    with torch.inference_mode():
        return comfyui.CLIPTextEncode().encode(tiny_models("flux").clip, "a moth")[0]


@pytest.fixture
def sample(comfyui, text):
    def sample(model):
        (latent,) = comfyui.EmptyLatentImage().generate(64, 64, 1)
        (out,) = comfyui.KSampler().sample(model, 0, 1, 1.0, "euler", "simple", text, text, latent)
        return out["samples"]

    return sample


@pytest.fixture
def original(comfyui, flux, sample):
    """The latent of the original file, loaded by core."""
    (model,) = comfyui.UNETLoader().load_unet("flux.safetensors", "default")
    return sample(model)


@pytest.fixture
def gguf_file(flux_weights, models_folder):
    """A GGUF file as ComfyUI-GGUF writes one: large matrices in blocks, the rest in F32 or F16."""
    path = models_folder / "diffusion_models" / "flux-Q8_0.gguf"
    writer = gguf.GGUFWriter(path, "flux")
    for name, tensor in flux_weights.items():
        data = tensor.float().numpy()
        if tensor.ndim == 2 and tensor.shape[1] % 32 == 0 and "blocks" in name:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        elif tensor.ndim == 2:
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
