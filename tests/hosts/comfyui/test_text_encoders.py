"""A text encoder with quantized weights, loaded from files in the real layouts of CLIP-L."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from wattbench.quant.convert import Request as Conversion
from wattbench.quant.convert import convert_file
from wattbench.quant.formats import find

LAYERS, MATRICES = 12, 6
"""Of CLIP-L, and those of a layer."""


@pytest.fixture(scope="module")
def weights(comfyui):
    """Random weights in the real shapes: ComfyUI knows an encoder by them."""
    import comfy.ops
    import comfy.sd1_clip
    from comfy.clip_model import CLIPTextModel

    from wattbench.hosts.comfyui.synthetic.weights import RandomWeights

    config = Path(comfy.sd1_clip.__file__).with_name("sd1_clip_config.json")
    with torch.device("meta"):
        model = CLIPTextModel(
            json.loads(config.read_text("utf-8")),
            torch.float16,
            torch.device("meta"),
            comfy.ops.disable_weight_init,
        )
    return RandomWeights(0).draw(model)


@pytest.fixture(scope="module")
def write(weights, tmp_path_factory):
    """A function that writes a text encoder: its path."""
    folder = tmp_path_factory.mktemp("text_encoders")

    def write(name, tensors=weights):
        path = folder / f"{name}.safetensors"
        if not path.exists():
            save_file(tensors, path)
        return str(path)

    return write


@pytest.fixture(scope="module")
def load(comfyui):
    from wattbench.hosts.comfyui.quantized import Request, load_clip

    def load(path, weight_format):
        with torch.inference_mode():
            return load_clip((path,), "stable_diffusion", Request(weight_format))

    return load


def encode(comfyui, clip):
    return comfyui.CLIPTextEncode().encode(clip, "a moth holding a lamp")[0][0][0]


def read(clip):
    from wattbench.hosts.comfyui.quantized import linear_ledger

    return linear_ledger(clip.patcher).read()


@pytest.fixture(scope="module")
def in_int8(load, write):
    return load(write("clip_l"), "int8")


def test_an_encoder_in_8_bit_is_near_the_original_and_says_so(comfyui, load, write, in_int8):
    from wattbench.hosts.comfyui.quantized import linear_ledger

    plain = load(write("clip_l"), "as stored")
    assert linear_ledger(plain.patcher) is None
    linear_ledger(in_int8.patcher).clear()
    reference, value = encode(comfyui, plain), encode(comfyui, in_int8)
    assert float((value - reference).norm() / reference.norm()) < 0.03
    assert not torch.equal(value, reference)
    calls = {c.requested: (c.executed, c.call_count) for c in read(in_int8)}
    assert calls["text int8"] == ("text dequantized (fp32)", LAYERS * MATRICES)


def test_a_file_without_the_projection_loads(comfyui, load, write, weights, in_int8):
    """As the clip_l.safetensors that most people have."""
    bare = {name: t for name, t in weights.items() if name != "text_projection.weight"}
    clip = load(write("bare", bare), "int8")
    assert torch.equal(encode(comfyui, clip), encode(comfyui, in_int8))


def test_openais_layout_loads(comfyui, load, write, weights, in_int8):
    clip = load(write("open_clip", open_clip(weights)), "int8")
    assert torch.equal(encode(comfyui, clip), encode(comfyui, in_int8))


def open_clip(weights):
    """The names of OpenAI's own files, in which queries, keys and values are one matrix."""
    renamed = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    tensors = {
        "positional_embedding": weights["text_model.embeddings.position_embedding.weight"],
        "token_embedding.weight": weights["text_model.embeddings.token_embedding.weight"],
        "text_projection": weights["text_projection.weight"].T.contiguous(),
    }
    for kind in ("weight", "bias"):
        tensors[f"ln_final.{kind}"] = weights[f"text_model.final_layer_norm.{kind}"]
        for number in range(LAYERS):
            layer = f"text_model.encoder.layers.{number}"
            block = f"transformer.resblocks.{number}"
            for name, other in renamed.items():
                tensors[f"{block}.{other}.{kind}"] = weights[f"{layer}.{name}.{kind}"]
            three = [weights[f"{layer}.self_attn.{name}_proj.{kind}"] for name in "qkv"]
            tensors[f"{block}.attn.in_proj_{kind}"] = torch.cat(three)
    return tensors


def test_activations_are_left_alone_in_any_file(comfyui, load, write, weights, tmp_path):
    """Also where the file's format would quantize them in a diffusion model.

    `wattbench quantize` refuses a CLIP, so it is given one under other names.
    """
    other = {name.replace("text_model.", "blocks."): t for name, t in weights.items()}
    converted, path = tmp_path / "other.safetensors", tmp_path / "eight.safetensors"
    convert_file(Path(write("other_names", other)), converted, Conversion(find("int8_w8a8")))
    save_file(
        {n.replace("blocks.", "text_model."): t for n, t in load_file(converted).items()}, path
    )
    clip = load(str(path), "as stored")
    encode(comfyui, clip)
    (calls,) = (c for c in read(clip) if c.requested == "text int8_w8a8")
    assert calls.executed == "text dequantized (fp32)"
    assert "outliers" in calls.reason


def test_a_table_that_others_quantized_is_left_to_comfyui(comfyui, load, write, weights):
    from wattbench.quant.base import encode_config

    name = "text_model.embeddings.token_embedding"
    table = weights[f"{name}.weight"].float()
    scale = table.abs().max() / 448
    tensors = {
        **weights,
        f"{name}.weight": (table / scale).to(torch.float8_e4m3fn),
        f"{name}.weight_scale": scale,
        f"{name}.comfy_quant": encode_config({"format": "float8_e4m3fn"}),
    }
    plain, quantized = (
        load(write("clip_l"), "as stored"),
        load(write("table", tensors), "as stored"),
    )
    reference, value = encode(comfyui, plain), encode(comfyui, quantized)
    assert float((value - reference).norm() / reference.norm()) < 0.1


def test_measured_encoding_tells_the_format_and_what_ran(comfyui, in_int8, hundred_watts):
    from wattbench.measure.protocol.observation import join
    from wattbench.nodes.twins import WattBenchTextEncode

    _, probe = WattBenchTextEncode.execute(clip=in_int8, text="a", meter=hundred_watts).result
    run = join(probe.observations)
    assert run.condition.optimizations == "text int8"
    assert {c.requested for c in run.kernel_calls} == {"text int8", "text fp16"}


def test_formats_that_quantize_activations_and_those_only_read_are_refused(load, write):
    from wattbench.hosts.comfyui.quantized import TEXT_FORMATS

    assert set(TEXT_FORMATS) == {"bf16", "fp16", "fp8_w", "int8", "nf4", "int4"}
    with pytest.raises(ValueError, match="text encoders are not computed in int8_w8a8"):
        load(write("clip_l"), "int8_w8a8")


@pytest.mark.parametrize("weight_format", ["int8", "as stored"])
def test_a_file_without_a_text_encoder_is_refused(weight_format, load, write):
    path = write("lora", {"te.lora_down.weight": torch.ones(8, 64)})
    with pytest.raises(ValueError, match=r"lora\.safetensors: no text encoder that this ComfyUI"):
        load(path, weight_format)
