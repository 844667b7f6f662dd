"""Tiny models with an attention choice, sampled in the real ComfyUI."""

import pytest
import torch

from ...in_comfyui import inference_mode

__all__ = ["inference_mode"]

SAMPLING = {"steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


@pytest.fixture
def choose(comfyui, tmp_path):
    """A function that gives a MODEL an attention choice."""
    from wattbench.attention.choices import Choices
    from wattbench.attention.plan import Setting
    from wattbench.hosts.comfyui.attention import choose_attention

    memory = Choices(tmp_path / "attention.json")
    return lambda model, requested, **setting: choose_attention(
        model, Setting(requested, **setting), memory
    )


@pytest.fixture(scope="session")
def jobs(comfyui, tiny_models):
    """What KSampler takes for a tiny model of an architecture, encoded once."""
    encoded = {}

    def job(architecture, batch=1):
        if architecture not in encoded:
            encode = comfyui.CLIPTextEncode().encode
            clip = tiny_models(architecture).clip
            with torch.inference_mode():
                encoded[architecture] = encode(clip, "a moth")[0], encode(clip, "")[0]
        positive, negative = encoded[architecture]
        (latent,) = comfyui.EmptyLatentImage().generate(64, 64, batch)
        return {"positive": positive, "negative": negative, "latent_image": latent}

    return job


@pytest.fixture
def sample(comfyui, jobs):
    def run(model, architecture="sdxl", batch=1):
        (latent,) = comfyui.KSampler().sample(model, 3, **SAMPLING, **jobs(architecture, batch))
        return latent["samples"]

    return run


@pytest.fixture(scope="session")
def references(comfyui, tiny_models, jobs):
    """The latent that ComfyUI makes by itself, once for each architecture."""
    made = {}

    def reference(architecture):
        if architecture not in made:
            model = tiny_models(architecture).model
            with torch.inference_mode():
                (latent,) = comfyui.KSampler().sample(model, 3, **SAMPLING, **jobs(architecture))
            made[architecture] = latent["samples"]
        return made[architecture]

    return reference


@pytest.fixture
def ledger_of(comfyui):
    from wattbench.hosts.comfyui.ledgers import ledgers_of

    return lambda model: ledgers_of(model).read()


@pytest.fixture
def distance():
    """How far a latent is from another, relative to its length."""
    return lambda latent, reference: float((latent - reference).norm() / reference.norm())


@pytest.fixture
def counted(comfyui, monkeypatch):
    """Calls of ComfyUI's own attention wrapper, counted outside of the pack."""
    import comfy.ldm.modules.attention as attention

    calls = []

    def counting(override):
        def count(function, *args, **kwargs):
            calls.append(function)
            return override(function, *args, **kwargs)

        return count

    def watch(model):
        options = model.model_options["transformer_options"]
        options["optimized_attention_override"] = counting(options["optimized_attention_override"])
        return calls

    assert attention.REGISTERED_ATTENTION_FUNCTIONS
    return watch
