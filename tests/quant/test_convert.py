"""A converted file holds what the format makes of each layer, and says how it was made."""

import hashlib
import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from wattbench.quant.base import WeightRangeError
from wattbench.quant.calibrate import ActivationRange, Calibration
from wattbench.quant.convert import Request, convert_file
from wattbench.quant.files import FileError, TensorFile
from wattbench.quant.formats import FORMATS, find
from wattbench.quant.inventory import layers_of, model_prefix
from wattbench.quant.layers import LayerRules

HERE = [f for f in FORMATS if f.package is None or f.package.is_installed]
QUANTIZED = [f.name for f in HERE if f.is_quantized and f.can_quantize]
PREFIX = "model.diffusion_model."
SCALES = {"blocks.0.attn": 0.5, "blocks.1.attn": 0.25}


def weights(dtype=torch.bfloat16):
    random = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=random).to(dtype)

    return {
        "blocks.0.attn.weight": draw(192, 128),
        "blocks.0.attn.bias": draw(192),
        "blocks.1.attn.weight": draw(128, 192),
        "blocks.1.adaLN_modulation.1.weight": draw(256, 128),
        "img_in.weight": draw(128, 64),
        "conv.weight": draw(8, 4, 3, 3),
        "norm.weight": torch.ones(128, dtype=dtype),
        "steps": torch.arange(4),
    }


def as_bytes(tensor):
    return tensor.reshape(-1).view(torch.uint8)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.safetensors"
    metadata = {"modelspec.title": "A model", "modelspec.hash_sha256": "0x12"}
    save_file(weights(), path, metadata)
    return path


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target.safetensors"


def request_of(name, **settings):
    scales = SCALES if name == "fp8_static" else {}
    return Request(find(name), input_scales=scales, version="1.2.3", **settings)


@pytest.mark.parametrize("name", QUANTIZED)
def test_layers_are_stored_as_their_format_stores_them(source, target, name):
    made = convert_file(source, target, request_of(name))
    before, after = load_file(source), load_file(target)
    chosen = {
        "blocks.0.attn": find(name),
        "blocks.1.attn": find(name),
        "blocks.1.adaLN_modulation.1": find(find(name).weight_only),
    }
    expected = {}
    for layer, weight_format in chosen.items():
        for suffix, tensor in weight_format.quantize(before.pop(f"{layer}.weight")).items():
            expected[f"{layer}.{suffix}"] = tensor
    if name == "fp8_static":
        for layer, scale in SCALES.items():
            expected[f"{layer}.input_scale"] = torch.tensor(scale)
    expected |= before
    assert expected.keys() == after.keys()
    for key, tensor in expected.items():
        assert tensor.dtype == after[key].dtype, key
        assert torch.equal(as_bytes(tensor), as_bytes(after[key])), key
    assert set(made.kept) == {"img_in", "conv"}
    assert sum(made.formats.values()) == 3
    assert made.target_bytes == target.stat().st_size < made.source_bytes


def test_metadata_is_kept_and_says_how_the_file_was_made(source, target):
    made = convert_file(source, target, request_of("fp8", rules=LayerRules(keep=("blocks.0.*",))))
    with safe_open(target, "pt") as file:
        metadata = file.metadata()
    told = json.loads(metadata.pop("wattbench"))
    assert metadata == {"modelspec.title": "A model"}
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert made.source_sha256 == digest
    assert told["source"] == {
        "name": "source.safetensors",
        "bytes": source.stat().st_size,
        "sha256": digest,
    }
    assert told["version"] == "1.2.3"
    assert told["format"] == "fp8"
    assert told["layers"] == {"fp8": 1, "fp8_w": 1}
    assert told["kept"] == ["blocks.0.attn", "conv", "img_in"]


def test_only_the_diffusion_model_of_a_checkpoint_changes(tmp_path, target):
    source = tmp_path / "checkpoint.safetensors"
    inner = {PREFIX + name: tensor for name, tensor in weights(torch.float32).items()}
    random = torch.Generator().manual_seed(0)
    others = {
        "first_stage_model.decoder.mid.attn_1.k.weight": torch.randn(64, 64, generator=random),
        "cond_stage_model.transformer.layers.0.fc1.weight": torch.randn(128, 64, generator=random),
    }
    save_file({**inner, **others}, source)
    convert_file(source, target, request_of("int8_w8a8", dtype="fp16"))
    after = load_file(target)
    for name, tensor in others.items():
        assert torch.equal(after[name], tensor)
        assert after[name].dtype == torch.float32
    assert after[PREFIX + "blocks.0.attn.weight"].dtype == torch.int8
    for name in ("img_in.weight", "conv.weight", "norm.weight", "blocks.0.attn.bias"):
        assert torch.equal(after[PREFIX + name], inner[PREFIX + name].half())
    assert torch.equal(after[PREFIX + "steps"], torch.arange(4))


def test_a_plain_format_casts_every_float_of_the_model(source, target):
    made = convert_file(source, target, request_of("fp16"))
    after = load_file(target)
    assert {t.dtype for name, t in after.items() if name != "steps"} == {torch.float16}
    assert made.formats == {"fp16": 5}
    assert made.kept == {}


def test_patterns_keep_and_release_layers(source, target):
    rules = LayerRules.parse("blocks.0.* -norm")
    made = convert_file(source, target, request_of("fp8_w", rules=rules))
    assert made.kept["blocks.0.attn"] == "the user keeps it"
    assert load_file(target)["blocks.0.attn.weight"].dtype == torch.bfloat16


def test_a_layer_that_was_not_calibrated_keeps_its_activations(source, target):
    request = Request(find("fp8_static"), input_scales={"blocks.0.attn": 0.5})
    assert convert_file(source, target, request).formats == {"fp8_static": 1, "fp8_w": 2}


def test_a_calibration_file_gives_the_scales(tmp_path):
    ranges = {"blocks.0.attn": ActivationRange(896.0, 3.0, 448.0, 12)}
    calibration = Calibration("a model", 99.99, 1, ranges)
    path = tmp_path / "calibration.json"
    calibration.save(path)
    assert Calibration.load(path) == calibration
    assert Calibration.load(path).input_scales == {"blocks.0.attn": 1.0}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 9}', '{"version": 1, "layers": {}}'])
def test_what_is_no_calibration_is_refused(tmp_path, text):
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is no calibration"):
        Calibration.load(path)


def test_a_model_in_place_of_a_calibration_is_refused_in_one_line(source):
    with pytest.raises(ValueError, match="is no calibration") as refusal:
        Calibration.load(source)
    assert len(str(refusal.value)) < 500


def test_a_calibration_of_another_model_is_refused(source, target):
    request = Request(find("fp8_static"), input_scales={"layers.0.attention.qkv": 0.5})
    with pytest.raises(FileError, match="made with another model"):
        convert_file(source, target, request)
    assert not target.exists()


def test_static_scales_are_not_guessed(source, target):
    with pytest.raises(ValueError, match="fp8_static needs calibrated scales"):
        convert_file(source, target, Request(find("fp8_static")))
    assert not target.exists()


@pytest.mark.parametrize("name", QUANTIZED)
def test_nothing_is_quantized_twice(source, tmp_path, name):
    once = tmp_path / "once.safetensors"
    convert_file(source, once, request_of(name))
    with pytest.raises(FileError, match="is quantized already"):
        convert_file(once, tmp_path / "twice.safetensors", request_of("fp8"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}, "scaled_fp8"),
        ({"blocks.0.attn.weight": torch.zeros(192, 128, dtype=torch.float8_e5m2)}, "F8_E5M2"),
        ({"blocks.0.attn.weight": torch.zeros(12288, 1, dtype=torch.uint8)}, "U8"),
    ],
)
def test_files_that_others_quantized_are_refused(tmp_path, target, change, reason):
    source = tmp_path / "theirs.safetensors"
    save_file({**weights(), **change}, source)
    with pytest.raises(FileError, match=f"is quantized already: .*{reason}"):
        convert_file(source, target, request_of("nf4"))


def test_a_lora_is_refused(source, target):
    pair = {f"blocks.0.attn.lora_{end}.weight": torch.ones(64, 64) for end in ("up", "down")}
    save_file(pair, source)
    with pytest.raises(FileError, match="is a LoRA, and LoRAs stay as they are"):
        convert_file(source, target, request_of("int8"))
    assert not target.exists()


def test_a_header_of_quantized_layers_is_recognised(tmp_path, target):
    source = tmp_path / "theirs.safetensors"
    layers = {"blocks.0.attn": {"format": "nvfp4"}}
    save_file(weights(), source, {"_quantization_metadata": json.dumps({"layers": layers})})
    with pytest.raises(FileError, match="_quantization_metadata"):
        convert_file(source, target, request_of("fp8"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["fp8", "int8", "nf4"])
def test_a_layer_without_a_scale_is_named_and_nothing_is_left(tmp_path, target, name, value):
    source = tmp_path / "broken.safetensors"
    tensors = weights()
    tensors["blocks.1.attn.weight"][5, 7] = value
    save_file(tensors, source)
    with pytest.raises(WeightRangeError, match=r"blocks\.1\.attn"):
        convert_file(source, target, request_of(name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.safetensors"]


def test_a_cast_that_overflows_is_named(tmp_path, target):
    source = tmp_path / "wide.safetensors"
    tensors = weights()
    tensors["blocks.0.attn.bias"][0] = 1e6
    save_file(tensors, source)
    with pytest.raises(WeightRangeError, match=r"blocks\.0\.attn\.bias overflows fp16"):
        convert_file(source, target, request_of("fp8", dtype="fp16"))
    assert not target.exists()


@pytest.mark.parametrize(("size", "lost"), [(2.0**-18, False), (2.0**-24 * 1.4, True)])
def test_a_cast_that_underflows_is_named(tmp_path, target, size, lost):
    """fp16 rounds to multiples of 2^-24: tensors of small numbers lose themselves."""
    source = tmp_path / "small.safetensors"
    tensors = {**weights(), "blocks.0.attn.bias": torch.full((192,), size)}
    tensors["norm.weight"][0] = 2.0**-24 * 0.4
    save_file(tensors, source)
    if not lost:
        assert convert_file(source, target, request_of("fp8", dtype="fp16")).kept
        return
    with pytest.raises(WeightRangeError, match=r"blocks\.0\.attn\.bias underflows fp16"):
        convert_file(source, target, request_of("fp8", dtype="fp16"))
    assert not target.exists()


def test_a_pattern_that_matches_nothing_is_told(source, target):
    rules = LayerRules.parse("blocks.0.* block.1.* -nothing")
    made = convert_file(source, target, request_of("fp8", rules=rules))
    assert "matches no layer of this file: block.1.*, nothing" in made.text()


def test_the_real_bits_are_told(source, target):
    """Modulation stays at 8 bits in a format of 4."""
    made = convert_file(source, target, request_of("int4_gemm"))
    shapes = {"int4_gemm": [(192, 128), (128, 192)], "fp8_w": [(256, 128)]}
    counts = [(math.prod(s), find(name)) for name, found in shapes.items() for s in found]
    sizes = [find(n).bits_per_weight(s) * math.prod(s) for n, ss in shapes.items() for s in ss]
    expected = sum(sizes) / sum(count for count, _ in counts)
    assert made.bits_per_weight == pytest.approx(expected)
    assert f"{expected:.2f} bits per weight" in made.text()


def test_sensitive_layers_stay_within_their_share(tmp_path, target):
    """Of four layers alike the one with outliers loses most to one scale for all."""
    source = tmp_path / "model.safetensors"
    random = torch.Generator().manual_seed(0)
    names = [f"blocks.{i}.w" for i in range(4)]
    tensors = {f"{name}.weight": torch.randn(64, 64, generator=random) for name in names}
    tensors["blocks.2.w.weight"][0, 0] = 3e4
    save_file(tensors, source)
    worst = {"blocks.2.w"}
    for share, kept in ((0.0, set()), (0.24, set()), (0.25, worst), (0.49, worst)):
        made = convert_file(source, target, request_of("fp8", keep_sensitive=share))
        assert set(made.kept) == kept
        before, after = load_file(source)["blocks.2.w.weight"], load_file(target)
        assert torch.equal(after["blocks.2.w.weight"].float(), before) == bool(kept)
        target.unlink()


def test_what_no_linear_layer_holds_stays(tmp_path, target):
    source = tmp_path / "experts.safetensors"
    gate = {
        "blocks.0.ff_i.gate.weight": torch.ones(4, 128),
        "blocks.2.other.weight": torch.ones(64, 64),
    }
    save_file({**weights(), **gate}, source)
    rules = LayerRules(linears=frozenset({"blocks.0.attn", "blocks.1.attn"}))
    made = convert_file(source, target, request_of("fp8", rules=rules))
    assert made.kept["blocks.2.other"] == "no linear layer of the model"
    assert sum(made.formats.values()) == 2
    target.unlink()
    made = convert_file(source, target, request_of("fp8"))
    assert made.kept["blocks.0.ff_i.gate"] == "no linear layer of the model"
    assert "blocks.2.other" not in made.kept


def test_an_empty_matrix_stays(tmp_path, target):
    source = tmp_path / "empty.safetensors"
    save_file({**weights(), "blocks.2.attn.weight": torch.zeros(0, 64)}, source)
    assert convert_file(source, target, request_of("fp8")).kept["blocks.2.attn"] == "it is empty"


def test_auraflows_checkpoints_are_told_apart(tmp_path, target):
    """Names begin with ``model.``, as those of language models do."""
    source = tmp_path / "auraflow.safetensors"
    inner = {f"model.double_layers.0.{n}": t for n, t in weights().items() if "attn" in n}
    save_file({**inner, "vae.decoder.conv_in.weight": torch.ones(64, 64)}, source)
    made = convert_file(source, target, request_of("fp8"))
    assert sum(made.formats.values()) == 2
    assert load_file(target)["vae.decoder.conv_in.weight"].dtype == torch.float32
    assert model_prefix(["model.layers.0.mlp.up_proj.weight"] * 9) == ""


def test_a_file_without_matrices_is_refused(tmp_path, target):
    source = tmp_path / "vae.safetensors"
    save_file({"conv.weight": torch.zeros(4, 4, 3, 3)}, source)
    with pytest.raises(FileError, match="no layer can become fp8: 1 × convolution"):
        convert_file(source, target, request_of("fp8"))


def test_the_name_says_what_the_file_is(source, tmp_path):
    with pytest.raises(FileError, match=r"must end in \.safetensors"):
        convert_file(source, tmp_path / "target.ckpt", request_of("fp8"))


def test_layers_are_read_back_with_their_names_and_shapes(source, target):
    convert_file(source, target, request_of("nf4"))
    with TensorFile(target) as file:
        layers = {layer.name: layer for layer in layers_of(file, model_prefix(file.entries))}
    assert layers["blocks.0.attn"].format_name == "nf4"
    assert layers["blocks.0.attn"].shape == (192, 128)
    assert layers["img_in"].format_name == "bf16"
    assert layers["conv"].shape == (8, 4, 3, 3)
