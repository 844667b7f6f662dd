"""Synthetic models in a real ComfyUI on the CPU: stock nodes run on every one of them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import psutil
import pytest
import torch

NAMES = (
    "sdxl",
    "z_image_turbo",
    "sd15",
    "flux",
    "flux2_klein",
    "flux2_klein_9b",
    "sd35",
    "qwen_image",
)
EPS_MODELS = ("sdxl", "sd15")

PUBLISHED_PARAMETERS = {
    "sdxl": 2.567e9,
    "z_image_turbo": 6.155e9,
    "sd15": 0.860e9,
    "flux": 11.90e9,
    "flux2_klein": 3.88e9,
    "flux2_klein_9b": 9.08e9,
    # 8.06 B and the table of positions, a buffer of 192**2 x 2432 numbers
    "sd35": 8.057e9 + 192**2 * 2432,
    "qwen_image": 20.43e9,
}
# CLIP-L has 123.06 M, and ComfyUI adds its text projection.
CLIP_L = 123.06e6 + 768**2
CLIP_G = 694.66e6
T5_XXL = 4.762e9
TEXT_ENCODER_PARAMETERS = {
    "sdxl": CLIP_L + CLIP_G,
    "z_image_turbo": 4.022e9,
    "sd15": CLIP_L,
    "flux": CLIP_L + T5_XXL,
    "flux2_klein": 4.022e9,
    "flux2_klein_9b": 8.19e9,
    "sd35": CLIP_L + CLIP_G + T5_XXL,
    # Qwen2.5-VL-7B without its output layer
    "qwen_image": 8.292e9 - 152064 * 3584,
}


@pytest.fixture(scope="module")
def synthetic(comfyui):
    from wattbench.hosts.comfyui import synthetic

    with torch.inference_mode():
        yield synthetic


@pytest.fixture(scope="module")
def tiny(synthetic):
    """Tiny models by name, each built once, so a test must not change them."""
    built: dict[str, object] = {}

    def get(name: str):
        if name not in built:
            built[name] = synthetic.build(name, "tiny", "auto", 1)
        return built[name]

    return get


def sample(comfyui, model, positive, negative, name: str, side: int = 16, steps: int = 30):
    """The protocols of the study for SDXL and Z-Image Turbo; flow models have no CFG."""
    if name in EPS_MODELS:
        cfg, sampler, scheduler = 7.0, "euler", "normal"
    elif name == "z_image_turbo":
        cfg, sampler, scheduler, steps = 1.0, "res_multistep", "linear_quadratic", 8
    else:
        cfg, sampler, scheduler = 1.0, "euler", "simple"
    latent = {"samples": torch.zeros(1, 4, side, side), "downscale_ratio_spacial": 8}
    (result,) = comfyui.KSampler().sample(
        model, 5, steps, cfg, sampler, scheduler, positive, negative, latent
    )
    return result


def encode(comfyui, clip, text: str):
    return comfyui.CLIPTextEncode().encode(clip, text)[0]


def picture(comfyui, parts, name: str, **options):
    """Latent scale (standard deviation in the model's own latent space) and decoded picture."""
    positive = encode(comfyui, parts.clip, "a photo of a cat")
    negative = encode(comfyui, parts.clip, "blurry")
    latent = sample(comfyui, parts.model, positive, negative, name, **options)
    scale = parts.model.model.process_latent_in(latent["samples"]).std().item()
    return scale, comfyui.VAEDecode().decode(parts.vae, latent)[0]


def assert_natural(scale: float, image: torch.Tensor) -> None:
    assert image.isfinite().all()
    assert 0.3 < scale < 5.0
    assert 0.3 < image.mean() < 0.7
    assert image.std() > 0.05


def steps_of(name, soaks):
    """Fewer in the gate, where the picture is natural after them already."""
    return 12 if soaks or name == "sd15" else 4


@pytest.mark.parametrize("name", NAMES)
def test_tiny_model_samples_a_natural_picture(comfyui, tiny, name, soaks):
    scale, image = picture(comfyui, tiny(name), name, side=8, steps=30 if soaks else 8)
    assert image.shape == (1, 64, 64, 3)
    assert_natural(scale, image)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_activations_stay_natural_in_half_precision(comfyui, synthetic, name, dtype, soaks):
    parts = synthetic.build(name, "tiny", dtype, 2)
    # ComfyUI computes in float32 on a CPU; without the cast the model computes as on a GPU.
    parts.model.model.manual_cast_dtype = None
    expected = {"fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    assert parts.model.model.get_dtype_inference() == expected
    assert_natural(*picture(comfyui, parts, name, side=8, steps=steps_of(name, soaks)))


@pytest.mark.parametrize("name", NAMES)
def test_float8_weights_sample(comfyui, synthetic, name, soaks):
    parts = synthetic.build(name, "tiny", "float8_e4m3fn", 3)
    dtypes = {p.dtype for p in parts.model.model.diffusion_model.parameters()}
    assert dtypes == {torch.float8_e4m3fn}
    assert_natural(*picture(comfyui, parts, name, side=8, steps=steps_of(name, soaks)))


def test_prediction_has_the_scale_of_the_noise(comfyui, tiny):
    """A trained eps model returns about its input while the input is nearly all noise."""
    parts = tiny("sdxl")
    seen = []
    hook = parts.model.model.diffusion_model.register_forward_hook(
        lambda module, inputs, output: seen.append((inputs[0].float(), output.float()))
    )
    picture(comfyui, parts, "sdxl", steps=2)
    hook.remove()
    noise, prediction = seen[0]
    assert 0.7 < prediction.std() < 1.4
    correlation = torch.corrcoef(torch.stack([noise.flatten(), prediction.flatten()]))[0, 1]
    assert correlation > 0.7


def weights_of(parts) -> dict[str, torch.Tensor]:
    return {
        **{f"model.{k}": v for k, v in parts.model.model.diffusion_model.state_dict().items()},
        **{f"clip.{k}": v for k, v in parts.clip.cond_stage_model.state_dict().items()},
        **{f"vae.{k}": v for k, v in parts.vae.first_stage_model.state_dict().items()},
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_the_weights_bit_for_bit(synthetic, tiny, name):
    first = weights_of(tiny(name))
    again = weights_of(synthetic.build(name, "tiny", "auto", 1))
    other = weights_of(synthetic.build(name, "tiny", "auto", 2))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    drawn = [key for key in first if first[key].ndim > 1 and not key.endswith(".gamma")]
    assert len(drawn) > 20
    assert not any(torch.equal(first[key], other[key]) for key in drawn)


def test_global_random_generators_stay_untouched(synthetic):
    before = torch.get_rng_state()
    synthetic.build("z_image_turbo", "tiny", "auto", 7)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", NAMES)
def test_identity_survives_a_clone(tiny, name):
    from wattbench.hosts.comfyui.identity import ModelIdentity, identity_of

    expected = ModelIdentity(name, f"synthetic {name} tiny", "synthetic")
    assert identity_of(tiny(name).model.clone().clone()) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_lora_changes_the_picture_and_only_on_its_clone(comfyui, tiny, name):
    import comfy.lora
    import comfy.sd

    parts = tiny(name)
    _, plain = picture(comfyui, parts, name, side=8, steps=2)
    state = parts.model.model.state_dict()
    keys = comfy.lora.model_lora_keys_unet(parts.model.model, {})
    lora_key, target = next(
        (key, target)
        for key, target in keys.items()
        if isinstance(target, str)
        and state[target].ndim == 2
        and min(state[target].shape) >= 32
        and "emb" not in target
    )
    (rows, columns), random = state[target].shape, torch.Generator().manual_seed(0)
    lora = {
        f"{lora_key}.lora_up.weight": torch.randn(rows, 4, generator=random),
        f"{lora_key}.lora_down.weight": torch.randn(4, columns, generator=random),
    }
    model, _ = comfy.sd.load_lora_for_models(parts.model, None, lora, 1.0, 1.0)
    _, patched = picture(comfyui, parts._replace(model=model), name, side=8, steps=2)
    _, after = picture(comfyui, parts, name, side=8, steps=2)
    assert patched.isfinite().all()
    assert not torch.equal(plain, patched)
    assert torch.equal(plain, after)


def test_a_batch_and_a_second_sampler_run(comfyui, tiny):
    parts = tiny("sdxl")
    text = encode(comfyui, parts.clip, "a cat")
    latent = {"samples": torch.zeros(2, 4, 8, 8)}
    (result,) = comfyui.KSampler().sample(
        parts.model, 1, 3, 5.0, "dpmpp_2m_sde", "karras", text, text, latent
    )
    image = comfyui.VAEDecode().decode(parts.vae, result)[0]
    assert image.shape == (2, 64, 64, 3)
    assert image.isfinite().all()


@pytest.mark.parametrize("part", ["model", "clip", "vae"])
def test_a_deep_clone_for_another_device_has_the_same_weights(synthetic, part):
    from wattbench.hosts.comfyui.identity import identity_of

    parts = synthetic.build("flux", "tiny", "auto", 4)
    patcher = parts.model if part == "model" else getattr(parts, part).patcher
    copy = patcher.deepclone_multigpu()
    assert copy.model is not patcher.model
    expected, actual = patcher.model.state_dict(), copy.model.state_dict()
    assert all(torch.equal(expected[key], actual[key]) for key in expected)
    if part == "model":
        assert identity_of(copy) == identity_of(patcher)


@pytest.mark.parametrize("name", NAMES)
def test_weights_reach_layers_that_load_lazily(synthetic, tiny, monkeypatch, name):
    """With dynamic VRAM, ComfyUI creates linear layers without weights."""
    import comfy.memory_management

    eager = weights_of(tiny(name))
    monkeypatch.setattr(comfy.memory_management, "aimdo_enabled", True)
    lazy = weights_of(synthetic.build(name, "tiny", "auto", 1))
    assert eager.keys() == lazy.keys()
    assert all(torch.equal(eager[key], lazy[key]) for key in eager)


@pytest.mark.parametrize("name", NAMES)
def test_full_size_has_the_published_parameter_counts(synthetic, name):
    counts = synthetic.count_parameters(name, "full")
    assert math.isclose(counts["model"], PUBLISHED_PARAMETERS[name], rel_tol=2e-3)
    assert math.isclose(counts["clip"], TEXT_ENCODER_PARAMETERS[name], rel_tol=2e-3)
    vaes = {"qwen_image": 126.9e6, "flux2_klein": 84.05e6, "flux2_klein_9b": 84.05e6}
    vae = vaes.get(name, 83.7e6)
    assert math.isclose(counts["vae"], vae, rel_tol=3e-3)


@pytest.mark.parametrize("name", NAMES)
def test_full_size_is_what_comfyui_detects(synthetic, name):
    """A file with the full model's names and shapes is detected as this very configuration."""
    import comfy.model_detection

    from wattbench.hosts.comfyui.synthetic.weights import blank_tensors

    architecture = synthetic.ARCHITECTURES[name]
    config = architecture.supported_model(dict(architecture.variants["full"].unet_config))
    config.set_inference_dtype(torch.float32, None)
    module = config.get_model({}, "", device=torch.device("meta")).diffusion_model
    file = {
        key: torch.ones(shape) if len(shape) == 1 else torch.empty(shape, device="meta")
        for key, (shape, _) in blank_tensors(module).items()
    }
    detected = comfy.model_detection.detect_unet_config(file, "")
    assert detected == dict(architecture.variants["full"].unet_config)
    chosen = comfy.model_detection.model_config_from_unet(file, "")
    assert type(chosen) is architecture.supported_model


def test_a_model_that_does_not_fit_is_refused_beforehand(synthetic, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**10))
    with pytest.raises(synthetic.NotEnoughMemoryError, match=r"56\.4 GB.*10\.0 GB of main memory"):
        synthetic.build("qwen_image", "full", "fp16", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sdxxl", "tiny", "auto", 0), "unknown architecture 'sdxxl'"),
        (("sdxl", "huge", "auto", 0), "unknown size 'huge'"),
        (("sdxl", "tiny", "int3", 0), "unknown dtype 'int3'"),
    ],
)
def test_unknown_choices_are_refused(synthetic, arguments, message):
    with pytest.raises(ValueError, match=message):
        synthetic.build(*arguments)
