"""Files that other programs quantized, through the loading node."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from wattbench.quant.base import CONFIG, decode_config, encode_config
from wattbench.quant.convert import Request, convert_file
from wattbench.quant.files import FileError
from wattbench.quant.formats import find

from ....fidelity import FLOOR_DB, SAME_DB, psnr_db


def test_the_old_scaled_fp8_layout_loads(load, sample, original, flux_weights, models_folder):
    tensors = dict(flux_weights)
    tensors["scaled_fp8"] = torch.zeros(0, dtype=torch.float8_e4m3fn)
    for name in [n for n in tensors if ".img_mlp." in n and n.endswith(".weight")]:
        scale = tensors[name].float().abs().max() / 448
        tensors[name] = (tensors[name].float() / scale).to(torch.float8_e4m3fn)
        tensors[name.removesuffix("weight") + "scale_weight"] = scale
    save_file(tensors, models_folder / "diffusion_models" / "old.safetensors")
    model = load("diffusion_models/old.safetensors")
    assert psnr_db(original, sample(model)) > FLOOR_DB
    layer = model.model.diffusion_model.double_blocks[0].img_mlp[0].layer
    assert layer.format.name == "fp8"


def test_a_header_that_describes_the_layers_loads(
    load, flux, sample, flux_weights, original, models_folder
):
    latent = sample(load(flux, "int8_w8a8", save_as="eight"))
    tensors = load_file(models_folder / "diffusion_models" / "eight.safetensors")
    layers = {
        name.removesuffix(f".{CONFIG}"): decode_config(tensors.pop(name))
        for name in [n for n in tensors if n.endswith(f".{CONFIG}")]
    }
    path = models_folder / "diffusion_models" / "header.safetensors"
    save_file(tensors, path, {"_quantization_metadata": json.dumps({"layers": layers})})
    again = sample(load("diffusion_models/header.safetensors"))
    assert psnr_db(latent, again) > SAME_DB


def test_a_gguf_file_loads_and_takes_a_lora(gguf_file, load, sample, original):
    from wattbench.hosts.comfyui.quantized import linear_ledger, model_files

    assert "diffusion_models/flux-Q8_0.gguf" in model_files()
    model = load("diffusion_models/flux-Q8_0.gguf")
    latent = sample(model)
    assert psnr_db(original, latent) > 35
    calls = {c.requested: c.executed for c in linear_ledger(model).read()}
    assert calls["gguf:Q8_0"] == "dequantized (fp32)"
    key = "diffusion_model.double_blocks.0.img_mlp.0.weight"
    patched = model.clone()
    shape = model.model.diffusion_model.double_blocks[0].img_mlp[0].weight.shape
    patched.add_patches({key: ("diff", (torch.full(shape, 0.3),))}, 1.0)
    assert psnr_db(latent, sample(patched)) < 60
    assert torch.equal(sample(model), latent)


def test_a_gguf_file_is_not_quantized_again(gguf_file, load):
    with pytest.raises(ValueError, match=r"already quantized \(gguf:Q8_0\)"):
        load("diffusion_models/flux-Q8_0.gguf", "fp8")


def test_a_gguf_file_of_another_name_is_told_by_its_content(gguf_file, load, sample, original):
    other = gguf_file.rename(gguf_file.with_name("renamed.safetensors"))
    model = load(f"diffusion_models/{other.name}")
    assert psnr_db(original, sample(model)) > 35


def under_diffusers_names(weights):
    import comfy.utils

    depths = {
        kind: len({name.split(".")[1] for name in weights if name.startswith(f"{kind}_blocks")})
        for kind in ("double", "single")
    }
    config = {"depth": depths["double"], "depth_single_blocks": depths["single"]}
    config["hidden_size"] = weights["img_in.bias"].numel()
    tensors = {}
    for name, place in comfy.utils.flux_to_diffusers(config).items():
        whole, part, swap = (place, None, None) if isinstance(place, str) else (*place, None)[:3]
        if whole in weights:
            tensor = weights[whole].narrow(*part) if part else weights[whole]
            tensors[name] = (swap(tensor) if swap else tensor).clone()
    return tensors


def test_diffusers_names_load_and_are_refused_once_quantized(
    load, sample, original, flux_weights, models_folder
):
    path = models_folder / "diffusion_models" / "diffusers.safetensors"
    tensors = under_diffusers_names(flux_weights)
    save_file(tensors, path)
    assert psnr_db(original, sample(load("diffusion_models/diffusers.safetensors", "int8"))) > 40
    with pytest.raises(FileError, match=r"diffusers\.safetensors has diffusers' names"):
        convert_file(path, path.with_name("eight.safetensors"), Request(find("int8")))
    tensors["x_embedder.weight"] = tensors["x_embedder.weight"].to(torch.float8_e4m3fn)
    tensors["x_embedder.weight_scale"] = torch.tensor(1.0)
    tensors[f"x_embedder.{CONFIG}"] = encode_config({"format": "float8_e4m3fn"})
    save_file(tensors, path.with_name("eight.safetensors"))
    with pytest.raises(ValueError, match=r"eight\.safetensors is quantized under diffusers' names"):
        load("diffusion_models/eight.safetensors")


def test_layers_in_comfyuis_own_formats_are_counted_as_they_run(
    load, sample, flux_weights, original, models_folder
):
    from wattbench.hosts.comfyui.quantized import linear_ledger

    name, dtype = "double_blocks.0.img_mlp.0", torch.float8_e5m2
    weight = flux_weights[f"{name}.weight"].to(dtype)
    config = encode_config({"format": "float8_e5m2"})
    tensors = {f"{name}.weight": weight, f"{name}.weight_scale": torch.tensor(1.0)}
    tensors = {**flux_weights, **tensors, f"{name}.{CONFIG}": config}
    save_file(tensors, models_folder / "diffusion_models" / "theirs.safetensors")
    model = load("diffusion_models/theirs.safetensors")
    assert psnr_db(original, sample(model)) > FLOOR_DB
    calls = {c.requested: c.executed for c in linear_ledger(model).read()}
    assert calls == {"float8_e5m2": "dequantized (fp32)", "fp32": "native (fp32)"}
