"""A text encoder from a GGUF file, end to end, against core's loader on the widened weights."""

import json
from pathlib import Path

import gguf
import pytest
import torch

from ....corpus.ggufs import write_gguf

Q = gguf.GGMLQuantizationType
LAYERS = 12


@pytest.fixture(scope="module")
def weights(comfyui):
    """Random weights of T5 base, the smallest encoder that ComfyUI knows under T5's names."""
    import comfy.ops
    import comfy.text_encoders.t5 as t5

    from wattbench.hosts.comfyui.synthetic.weights import RandomWeights

    config = Path(t5.__file__).with_name("t5_config_base.json")
    with torch.device("meta"):
        model = t5.T5(
            json.loads(config.read_text("utf-8")),
            torch.float16,
            torch.device("meta"),
            comfy.ops.disable_weight_init,
        )
    drawn = RandomWeights(0).draw(model)
    return {name: tensor for name, tensor in drawn.items() if "embed_tokens" not in name}


def encode(comfyui, clip):
    return comfyui.CLIPTextEncode().encode(clip, "a moth holding a lamp")[0][0][0]


def test_t5_base_encodes_as_its_widened_file_does(comfyui, weights, tmp_path):
    """Its feed-forward parts have no gate, as those of T5 1.1 have."""
    import comfy.sd

    from wattbench.hosts.comfyui.quantized import Request, linear_ledger, load_clip

    theirs = gguf.get_tensor_name_map(gguf.MODEL_ARCH.T5ENCODER, LAYERS)
    native = {theirs.get_name(name, try_suffixes=(".weight",)): name for name in weights}
    assert None not in native
    kinds = {
        name: Q.Q8_0
        for name, ours in native.items()
        if "SelfAttention" in ours or "DenseReluDense" in ours
        if "relative_attention_bias" not in ours
    }
    path = tmp_path / "t5_base.gguf"
    wide = write_gguf(path, {n: weights[ours] for n, ours in native.items()}, kinds, "t5encoder")
    with torch.inference_mode():
        expected = encode(
            comfyui,
            comfy.sd.load_text_encoder_state_dicts(
                [{native[name]: tensor.clone() for name, tensor in wide.items()}],
                clip_type=comfy.sd.CLIPType.STABLE_AUDIO,
                model_options={"dtype": torch.float32},
            ),
        )
        clip = load_clip((str(path),), "stable_audio", Request("as stored", "fp32"))
        found = encode(comfyui, clip)
    assert torch.isfinite(expected).all()
    assert float(expected.std()) > 0
    noise = (found - expected).norm() / expected.norm()
    assert noise < 1e-3
    (calls,) = linear_ledger(clip.patcher).read()
    assert calls.requested.startswith("text gguf")
    assert calls.call_count >= LAYERS * 6
