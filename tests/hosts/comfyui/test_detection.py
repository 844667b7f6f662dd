"""The models that files hold, under the names and in the layouts that people give them."""

import json

import pytest
import torch

PREFIX = "model.diffusion_model."
LAYER = "double_blocks.0.img_mlp.0"


@pytest.fixture(scope="module")
def flux(tiny_models):
    """The tensors of a tiny Flux under ComfyUI's names."""
    return dict(tiny_models("flux").model.model.diffusion_model.state_dict())


@pytest.fixture
def detect(comfyui):
    from wattbench.hosts.comfyui.quantized.detection import detect

    return lambda tensors, metadata=None: detect("a.safetensors", tensors, metadata or {})


def in_a_header(*layers):
    described = {layer: {"format": "float8_e4m3fn"} for layer in layers}
    return {"_quantization_metadata": json.dumps({"layers": described}), "config": "{}"}


def test_a_checkpoints_header_marks_its_model_alone(detect, flux):
    """As of LTX-2: names have the prefix, and layers of a text encoder are described as well."""
    encoder = "text_encoders.t5.encoder.block.0"
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in flux.items()}
    tensors[f"{encoder}.weight"] = torch.zeros(8, 8)
    found, metadata, config = detect(tensors, in_a_header(f"{PREFIX}{LAYER}", encoder))
    assert found.keys() == flux.keys() | {f"{LAYER}.comfy_quant"}
    assert metadata == {"config": "{}"}
    assert config.unet_config["image_model"] == "flux"


def test_a_unet_under_diffusers_names_gets_comfyuis(detect):
    import comfy.utils
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import disable_weight_init

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
    found, _, detected = detect(theirs)
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tensor.shape for name, tensor in native.items()
    }
    assert type(detected).__name__ == "SD15"


def test_a_model_without_what_tells_it_is_named(detect):
    with pytest.raises(ValueError, match=r"a\.safetensors has no x_embedder\.bias.*incomplete"):
        detect({"x_embedder.weight": torch.zeros(8, 8)})
