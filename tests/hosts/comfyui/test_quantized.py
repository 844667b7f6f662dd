"""Models with quantized weights in the real ComfyUI, on the CPU: near the original, and honest."""

import math

import pytest
import torch

from wattbench.offer import Machine
from wattbench.quant.formats import FORMATS, find

from ...fidelity import psnr_db

ARCHITECTURES = ("sdxl", "z_image_turbo", "flux", "sd35", "qwen_image")
HERE = [f for f in FORMATS if f.package is None or f.package.is_installed]
QUANTIZED = [f.name for f in HERE if f.is_quantized and f.can_quantize]

PSNR_FLOOR_DB = {
    "bf16": 35,
    "fp16": 50,
    "fp8_w": 35,
    "fp8": 35,
    "fp8_static": 35,
    "int8": 46,
    "int8_w8a8": 39,
    "nf4": 26,
    "int4": 26,
    "int4_gemm": 21,
    "mxfp8": 35,
    "nvfp4": 24,
    "w4a8": 24,
}
"""Of one step's latent against fp32, over the reference's own range of values."""


@pytest.fixture(scope="module")
def quantized(comfyui):
    from wattbench.hosts.comfyui import quantized

    return quantized


@pytest.fixture(scope="module")
def conditionings():
    return {}


@pytest.fixture
def sample(comfyui, tiny_models, conditionings):
    """A function that samples one step of 64 x 64 pixels: the latent."""

    def sample(model, architecture="z_image_turbo", width=64, batch_size=1):
        if architecture not in conditionings:
            clip = tiny_models(architecture).clip
            conditionings[architecture] = comfyui.CLIPTextEncode().encode(clip, "a moth")[0]
        text = conditionings[architecture]
        (latent,) = comfyui.EmptyLatentImage().generate(width, 64, batch_size)
        (out,) = comfyui.KSampler().sample(model, 0, 1, 1.0, "euler", "simple", text, text, latent)
        return out["samples"]

    return sample


@pytest.fixture(scope="module")
def references():
    return {}


@pytest.fixture
def reference(sample, tiny_models, references):
    """A function that answers the latent of the model in fp32."""

    def reference(architecture="z_image_turbo"):
        if architecture not in references:
            references[architecture] = sample(tiny_models(architecture).model, architecture)
        return references[architecture]

    return reference


@pytest.fixture
def lora(comfyui):
    """A function that patches one layer of a Z-Image clone with a matrix of rank 1."""

    def patch(model, strength=0.2):
        patched = model.clone()
        key = "diffusion_model.layers.0.feed_forward.w1.weight"
        weight = dict(model.model.named_parameters())[key]
        generator = torch.Generator().manual_seed(3)
        column = torch.randn(weight.shape[0], 1, generator=generator)
        row = torch.randn(1, weight.shape[1], generator=generator)
        delta = column @ row / math.sqrt(weight.shape[1])
        assert patched.add_patches({key: ("diff", (delta,))}, strength) == [key]
        return patched

    return patch


@pytest.fixture(scope="module")
def z_image(quantized, tiny_models):
    """A function that makes the tiny Z-Image in a format, once."""
    made = {}

    def z_image(name):
        if name not in made:
            with torch.inference_mode():
                model = tiny_models("z_image_turbo").model
                made[name] = quantized.quantize_model(model, quantized.Request(name))
        return made[name]

    return z_image


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_format_gives_nearly_the_same_latent(
    architecture, quantized, tiny_models, sample, reference
):
    model = tiny_models(architecture).model
    for weight_format in HERE:
        if not weight_format.can_quantize:
            continue
        request = quantized.Request(weight_format.name)
        latent = sample(quantized.quantize_model(model, request), architecture)
        assert torch.isfinite(latent).all()
        floor = PSNR_FLOOR_DB[weight_format.name]
        if architecture == "flux" and weight_format.name == "bf16":
            floor = 10  # the tiny model's activations overflow the resolution of bf16
        assert psnr_db(reference(architecture), latent) > floor, weight_format.name


@pytest.mark.parametrize("name", QUANTIZED)
def test_says_its_format_and_how_it_computed(name, quantized, z_image, sample):
    from wattbench.hosts.comfyui.describe import weight_format

    model = z_image(name)
    ledger = quantized.linear_ledger(model)
    ledger.clear()
    sample(model)
    assert weight_format(model) == name
    assert weight_format(model.clone()) == name
    calls = {c.requested: c for c in ledger.read()}
    asked = calls[name]
    execution = find(name).execution(Machine("cpu", ""))
    assert asked.executed.startswith(execution.kind)
    assert asked.reason == execution.reason
    blocks = 6
    assert asked.call_count + calls.get("fp8_w", asked).call_count * (name != "fp8_w") >= blocks * 4
    layers = {c.layer: c for c in ledger.layer_calls()}
    assert layers["layers.0.attention.qkv"].requested == name
    assert layers["cap_embedder.1"].requested == "fp32"


def test_a_measured_sampling_has_the_products_in_its_table(
    quantized, z_image, sample, hundred_watts
):
    from wattbench.analysis.runs_table import runs_frame
    from wattbench.hosts.comfyui.host import HOST
    from wattbench.hosts.comfyui.sampling import observe_sampling
    from wattbench.measure.protocol.observation import Probe, join, observe

    model, probe = z_image("int8"), Probe()
    sample(
        observe_sampling(
            model,
            lambda facts, seed: observe(HOST, probe, model.load_device, hundred_watts, facts, seed),
        )
    )
    run = join(probe.observations)
    assert run.condition.weight_format == "int8"
    (row,) = runs_frame([run]).to_dict("records")
    assert row["linear_requested"].startswith("int8: ")
    assert "dequantized (fp32)" in row["linear_executed"]
    assert row["linear_fallbacks"] == ""


@pytest.mark.parametrize("name", QUANTIZED)
def test_a_lora_applies_and_goes_away_again(name, z_image, sample, lora, reference):
    model = z_image(name)
    before = sample(model)
    patched = sample(lora(model))
    assert psnr_db(before, patched) < 60
    assert torch.equal(sample(model), before)


def test_a_lora_is_merged_near_where_it_would_be_exact(tiny_models, z_image, sample, lora):
    exact = sample(lora(tiny_models("z_image_turbo").model))
    merged = sample(lora(z_image("int8")))
    assert psnr_db(exact, merged) > PSNR_FLOOR_DB["int8"] - 6


@pytest.fixture
def small_card(comfyui, monkeypatch):
    """ComfyUI loads as on a card that holds a few layers: the others are fetched at each call."""
    import comfy.model_management

    def load(models, *args, **kwargs):
        for model in models:
            model.patch_model(model.load_device, lowvram_model_memory=1000)

    comfy.model_management.unload_all_models()
    monkeypatch.setattr(comfy.model_management, "load_models_gpu", load)


@pytest.fixture
def full(z_image, sample):
    """The latent of each format, loaded as a whole."""
    return {name: sample(z_image(name)) for name in QUANTIZED}


def test_low_vram_and_full_load_agree(full, quantized, z_image, sample, lora, small_card):
    from wattbench.hosts.comfyui.quantized.operations import LORA

    for name in QUANTIZED:
        model = z_image(name)
        ledger = quantized.linear_ledger(model)
        low = sample(model)
        streamed = [m.comfy_cast_weights for m in model.model.modules() if hasattr(m, "layer")]
        assert any(streamed), name
        assert psnr_db(full[name], low) > 60, name
        model.unpatch_model(model.offload_device)
        patched = lora(model)
        ledger.clear()
        assert psnr_db(low, sample(patched)) < 60
        reasons = {c.reason for c in ledger.read() if c.requested == name}
        assert LORA in reasons or find(name).execution(Machine("cpu", "")).kind == "dequantized"
        patched.unpatch_model(model.offload_device)
        assert psnr_db(full[name], sample(model)) > 60
        model.unpatch_model(model.offload_device)


def test_a_clone_with_weights_of_its_own_has_their_ledger(quantized, z_image, sample):
    """As a clone gets them that leaves dynamic VRAM."""
    model, other = z_image("fp8"), z_image("int8")
    clone = model.clone(model_override=other.get_clone_model_override())
    assert quantized.linear_ledger(clone) is quantized.linear_ledger(other)
    assert quantized.linear_ledger(model.clone()) is quantized.linear_ledger(model)


def test_clones_and_batches(z_image, sample):
    model = z_image("nf4")
    one = sample(model)
    two = sample(model.clone(), batch_size=2)
    assert torch.allclose(two[:1], one, atol=1e-4)


def test_patterns_keep_layers_as_they_are(quantized, tiny_models):
    model = tiny_models("z_image_turbo").model
    made = quantized.quantize_model(model, quantized.Request("nf4", layers="layers.0.*"))
    (kept, changed), (source, _) = (m.model.diffusion_model.layers[:2] for m in (made, model))
    assert torch.equal(kept.attention.qkv.weight, source.attention.qkv.weight)
    assert changed.attention.qkv.layer.format.name == "nf4"


def test_patterns_that_keep_all_layers_are_refused(quantized, tiny_models):
    model = tiny_models("z_image_turbo").model
    with pytest.raises(ValueError, match="no layer can become nf4"):
        quantized.quantize_model(model, quantized.Request("nf4", layers="*"))


def test_the_models_lora_goes_along(quantized, tiny_models, sample, lora):
    patched = lora(tiny_models("z_image_turbo").model)
    copy = quantized.quantize_model(patched, quantized.Request("int8"))
    assert psnr_db(sample(patched), sample(copy)) > PSNR_FLOOR_DB["int8"] - 6


def test_the_source_stays_as_it_is(quantized, tiny_models, sample, reference):
    quantized.quantize_model(tiny_models("z_image_turbo").model, quantized.Request("nf4"))
    assert torch.equal(sample(tiny_models("z_image_turbo").model), reference())


def test_native_arithmetic_where_the_machine_has_it(
    comfyui, quantized, tiny_models, sample, reference, monkeypatch
):
    """torch multiplies fp8 on a CPU too, slowly: with the rounding that a GPU would do."""
    monkeypatch.setattr(
        "wattbench.hosts.comfyui.quantized.operations.machine_of",
        lambda device: Machine("cuda", "H200", (9, 0)),
    )
    model = tiny_models("z_image_turbo").model
    for name, reason in (("fp8", ""), ("fp8_static", "the file has no calibrated scale")):
        made = quantized.quantize_model(model, quantized.Request(name))
        latent = sample(made)
        (calls,) = (c for c in quantized.linear_ledger(made).read() if c.requested == name)
        assert calls.executed == "native (fp8 tensor cores)"
        assert calls.reason.startswith(reason)
        assert psnr_db(reference(), latent) > 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fp9",), "unknown weight format 'fp9'"),
        (("fp8", "fp4"), "unknown dtype 'fp4'"),
    ],
)
def test_a_wrong_request_is_named(arguments, message, quantized):
    with pytest.raises(ValueError, match=message):
        quantized.Request(*arguments)


def test_a_layer_that_overflows_is_named(quantized, tiny_models):
    from wattbench.quant.base import WeightRangeError

    model = quantized.quantize_model(tiny_models("flux").model, quantized.Request("bf16"))
    model.model.diffusion_model.double_blocks[0].img_mlp[0].weight[0, 0] = math.inf
    with pytest.raises(WeightRangeError, match=r"double_blocks\.0\.img_mlp\.0.*Keep it"):
        quantized.quantize_model(model, quantized.Request("fp8"))


def test_a_quantized_model_is_not_quantized_again(quantized, z_image):
    with pytest.raises(ValueError, match="already quantized \\(nf4\\), and fp8 stores"):
        quantized.quantize_model(z_image("nf4"), quantized.Request("fp8"))
