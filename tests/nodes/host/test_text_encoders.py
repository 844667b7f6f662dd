"""A text encoder with quantized weights, loaded from a file in the real layout of CLIP-L."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def clip_file(comfyui, tmp_path_factory):
    """Random weights in the real shapes: ComfyUI knows an encoder by them."""
    import comfy.ops
    import comfy.sd1_clip
    from comfy.clip_model import CLIPTextModel

    from wattbench.nodes.host.synthetic.weights import RandomWeights

    config = Path(comfy.sd1_clip.__file__).with_name("sd1_clip_config.json")
    with torch.device("meta"):
        model = CLIPTextModel(
            json.loads(config.read_text("utf-8")),
            torch.float16,
            torch.device("meta"),
            comfy.ops.disable_weight_init,
        )
    weights = RandomWeights(0).draw(model)
    path = tmp_path_factory.mktemp("text_encoders") / "clip_l.safetensors"
    save_file(weights, path)
    return str(path)


@pytest.fixture(scope="module")
def load(clip_file):
    from wattbench.nodes.host.quantized import Request, load_clip

    def load(weight_format):
        with torch.inference_mode():
            return load_clip((clip_file,), "stable_diffusion", Request(weight_format))

    return load


def encode(comfyui, clip):
    return comfyui.CLIPTextEncode().encode(clip, "a moth holding a lamp")[0][0][0]


def test_an_encoder_in_8_bit_is_near_the_original_and_says_so(comfyui, load):
    from wattbench.nodes.host.quantized import linear_ledger

    plain, quantized = load("as stored"), load("int8")
    assert linear_ledger(plain.patcher) is None
    reference, value = encode(comfyui, plain), encode(comfyui, quantized)
    assert float((value - reference).norm() / reference.norm()) < 0.03
    assert not torch.equal(value, reference)
    calls = {c.requested: c.call_count for c in linear_ledger(quantized.patcher).read()}
    assert calls["int8"] == 12 * 6


def test_formats_that_quantize_activations_are_refused(load):
    with pytest.raises(ValueError, match="text encoders are not computed in int8_w8a8"):
        load("int8_w8a8")
