"""The models that files hold, under the names and in the layouts that people give them."""

import json

import pytest
import torch
from safetensors.torch import save_file

PREFIX = "model.diffusion_model."
LAYER = "double_blocks.0.img_mlp.0"


@pytest.fixture(scope="module")
def flux(tiny_models):
    """The tensors of a tiny Flux under ComfyUI's names."""
    return dict(tiny_models("flux").model.model.diffusion_model.state_dict())


@pytest.fixture
def detect(comfyui, tmp_path):
    from wattbench.hosts.comfyui.quantized.detection import detect
    from wattbench.hosts.comfyui.quantized.reading import read_file

    def of_file(tensors, metadata=None):
        path = tmp_path / "a.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
        return detect(read_file(str(path)))

    return of_file


def in_a_header(*layers):
    described = {layer: {"format": "float8_e4m3fn"} for layer in layers}
    return {"_quantization_metadata": json.dumps({"layers": described}), "config": "{}"}


def test_a_checkpoints_header_marks_its_model_alone(detect, flux):
    """As of LTX-2: names have the prefix, and layers of a text encoder are described as well."""
    encoder = "text_encoders.t5.encoder.block.0"
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in flux.items()}
    tensors[f"{encoder}.weight"] = torch.zeros(8, 8)
    weight = tensors[f"{PREFIX}{LAYER}.weight"]
    tensors[f"{PREFIX}{LAYER}.weight"] = weight.to(torch.float8_e4m3fn)
    tensors[f"{PREFIX}{LAYER}.weight_scale"] = torch.tensor(1.0)
    found = detect(tensors, in_a_header(f"{PREFIX}{LAYER}", encoder))
    added = {f"{LAYER}.comfy_quant", f"{LAYER}.weight_scale"}
    assert found.parts.keys() == flux.keys() | added
    assert found.outside.keys() == {f"{encoder}.weight"}
    assert found.config.unet_config["image_model"] == "flux"
    assert LAYER in found.linears


def test_a_unet_under_diffusers_names_gets_comfyuis(comfyui):
    import comfy.utils
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import disable_weight_init

    from wattbench.hosts.comfyui.quantized.detection import detect
    from wattbench.hosts.comfyui.quantized.reading import Held
    from wattbench.hosts.comfyui.synthetic import sd15

    config = sd15.ARCHITECTURE.variants["full"].unet_config
    settings = {**config, "num_heads": 8, "device": "meta", "operations": disable_weight_init}
    native = UNetModel(**settings).state_dict()
    theirs = {
        name: native[ours]
        for name, ours in comfy.utils.unet_to_diffusers(config).items()
        if ours in native
    }
    assert "down_blocks.0.attentions.0.proj_in.weight" in theirs
    blanks = {name: torch.zeros((), dtype=torch.int8).expand(t.shape) for name, t in theirs.items()}
    held = Held("a.safetensors", blanks, {}, {})
    found = detect(held)
    assert {name: tensor.shape for name, tensor in found.parts.items()} == {
        name: tensor.shape for name, tensor in native.items()
    }
    assert type(found.config).__name__ == "SD15"


def test_a_model_without_what_tells_it_is_named(detect):
    with pytest.raises(ValueError, match=r"a\.safetensors has no x_embedder\.bias.*incomplete"):
        detect({"x_embedder.weight": torch.zeros(8, 8)})
