"""Files that cannot be loaded are named, with what is wrong."""

import pytest
import torch
from safetensors.torch import load_file, save_file


@pytest.mark.parametrize("choice", ["flux.safetensors", "diffusion_models/../a", "loras/x"])
def test_only_files_of_the_list_load(choice, load, models_folder):
    (models_folder / "a").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="names no file of the list"):
        load(choice)


def test_a_truncated_file_is_named(flux, load, models_folder):
    path = models_folder / "diffusion_models" / "flux.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"flux\.safetensors is no whole safetensors file"):
        load(flux, "fp8")


def test_a_truncated_gguf_file_is_named(gguf_file, load):
    gguf_file.write_bytes(gguf_file.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"flux-Q8_0\.gguf is no whole GGUF file"):
        load("diffusion_models/flux-Q8_0.gguf")


def test_a_pickle_is_refused(load, models_folder):
    torch.save({"weight": torch.ones(2)}, models_folder / "diffusion_models" / "model.pt")
    with pytest.raises(ValueError, match="is a pickle, which may run code"):
        load("diffusion_models/model.pt", "fp8")


def test_a_pickle_in_disguise_is_refused(load, models_folder):
    torch.save({"a": torch.ones(2)}, models_folder / "diffusion_models" / "model.safetensors")
    with pytest.raises(ValueError, match="is a pickle, which may run code"):
        load("diffusion_models/model.safetensors", "fp8")


def test_a_file_without_a_model_is_refused(load, models_folder):
    save_file({"a.weight": torch.ones(2, 2)}, models_folder / "diffusion_models" / "a.safetensors")
    with pytest.raises(ValueError, match="no diffusion model that this ComfyUI knows"):
        load("diffusion_models/a.safetensors", "fp8")


def test_wrong_shapes_are_named(load, flux_weights, models_folder):
    name = "double_blocks.0.img_mlp.0.weight"
    tensors = {**flux_weights, name: flux_weights[name][:-64].clone()}
    save_file(tensors, models_folder / "diffusion_models" / "cut.safetensors")
    with pytest.raises(RuntimeError, match=r"for double_blocks\.0\.img_mlp\.0.*get it again"):
        load("diffusion_models/cut.safetensors", "fp8")


def test_a_missing_layer_is_named_when_it_is_computed(load, sample, flux_weights, models_folder):
    tensors = dict(flux_weights)
    del tensors["double_blocks.0.img_mlp.0.weight"]
    save_file(tensors, models_folder / "diffusion_models" / "less.safetensors")
    model = load("diffusion_models/less.safetensors", "int8")
    with pytest.raises(ValueError, match=r"no weight of layer double_blocks\.0\.img_mlp\.0"):
        sample(model)


def test_a_missing_scale_is_named(flux, load, models_folder):
    load(flux, "int8_w8a8", save_as="eight")
    path = models_folder / "diffusion_models" / "eight.safetensors"
    tensors = load_file(path)
    del tensors["double_blocks.0.img_mlp.0.weight_scale"]
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"double_blocks\.0\.img_mlp\.0 has no weight_scale"):
        load("diffusion_models/eight.safetensors")


@pytest.mark.parametrize(
    ("suffix", "stored", "message"),
    [
        ("weight", torch.int8, r"0\.img_mlp\.0 are I8, and nothing says"),
        ("SCB", torch.float32, "bitsandbytes stores weights as"),
        ("weight.quant_state.bitsandbytes__nf4", torch.uint8, "bitsandbytes stores weights as"),
        ("qweight", torch.int8, "Nunchaku, GPTQ or AWQ stores weights as"),
        ("_weight_qdata", torch.int8, "torchao stores weights as"),
    ],
)
def test_files_of_tools_that_comfyui_does_not_read_are_refused(
    suffix, stored, message, load, flux_weights, models_folder
):
    layer = "double_blocks.0.img_mlp.0"
    tensors = {**flux_weights, f"{layer}.{suffix}": torch.ones(1024, 256).to(stored)}
    save_file(tensors, models_folder / "diffusion_models" / "other.safetensors")
    for weight_format in ("as stored", "int8"):
        with pytest.raises(ValueError, match=f"ComfyUI does not read: .*{message}"):
            load("diffusion_models/other.safetensors", weight_format)
