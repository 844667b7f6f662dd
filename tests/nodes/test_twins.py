"""A measured twin gives the core node's result, bit for bit, and says what it took."""

import pytest
import torch

SAMPLING = {"steps": 3, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


@pytest.fixture
def twins(comfyui):
    from wattbench.nodes import twins

    return twins


def phases_of(probe):
    (observation,) = probe.observations
    return {phase.name: phase for phase in observation.recording.phases}


def test_twins_have_the_core_inputs(comfyui, twins):
    for twin in twins.NODES:
        core = comfyui.NODE_CLASS_MAPPINGS[twin.CORE_ID].INPUT_TYPES()
        own = twin.INPUT_TYPES()
        for section in ("required", "optional"):
            assert list(own.get(section, {}))[: len(core.get(section, {}))] == list(
                core.get(section, {})
            )
        assert list(own["optional"])[-1] == "meter"


def test_twins_have_the_core_outputs_and_a_probe(comfyui, twins):
    for twin in twins.NODES:
        core = [
            str(getattr(t, "value", t))
            for t in comfyui.NODE_CLASS_MAPPINGS[twin.CORE_ID].RETURN_TYPES
        ]
        assert [*core, "WATTBENCH_PROBE"] == twin.RETURN_TYPES


@pytest.mark.parametrize("seed", [0, 2**63])
def test_sampler_gives_the_core_result(
    comfyui, twins, tiny_models, conditioning, hundred_watts, seed
):
    model = tiny_models().model
    (expected,) = comfyui.KSampler().sample(model, seed, **SAMPLING, **conditioning)
    latent, probe = twins.WattBenchKSampler.execute(
        model=model, seed=seed, meter=hundred_watts, **SAMPLING, **conditioning
    ).result
    assert torch.equal(latent["samples"], expected["samples"])
    phases = phases_of(probe)
    assert list(phases) == ["load", "denoise"]
    denoise = phases["denoise"]
    assert (denoise.nfe, len(denoise.step_ends_s)) == (3, 3)
    assert denoise.energy.energy_j == pytest.approx(100 * denoise.duration_s, rel=0.01)
    assert probe.observations[0].seed == seed
    facts = probe.observations[0].facts
    assert (facts["width_px"], facts["height_px"], facts["batch_size"]) == (64, 64, 1)
    assert (facts["sampler"], facts["scheduler"], facts["steps"]) == ("euler", "normal", 3)
    assert (facts["architecture"], facts["weights"]) == ("sdxl", "synthetic")
    assert (facts["weight_format"], facts["attention"]) == ("fp32", "sub_quadratic")


@pytest.mark.parametrize(("sampler", "nfe"), [("heun", 5), ("dpm_2", 5), ("res_multistep", 3)])
def test_evaluations_are_counted_apart_from_steps(
    twins, tiny_models, conditioning, hundred_watts, sampler, nfe
):
    """Heun evaluates twice in every step but the last one."""
    _, probe = twins.WattBenchKSampler.execute(
        model=tiny_models().model,
        seed=1,
        meter=hundred_watts,
        **{**SAMPLING, "sampler_name": sampler},
        **conditioning,
    ).result
    denoise = phases_of(probe)["denoise"]
    assert (denoise.nfe, len(denoise.step_ends_s)) == (nfe, 3)


def test_measuring_leaves_the_model_alone(twins, tiny_models, conditioning, hundred_watts):
    model = tiny_models().model
    before = {kind: dict(keys) for kind, keys in model.wrappers.items()}
    twins.WattBenchKSampler.execute(
        model=model, seed=1, meter=hundred_watts, **SAMPLING, **conditioning
    )
    assert {kind: dict(keys) for kind, keys in model.wrappers.items()} == before


def test_text_encoder_gives_the_core_result(comfyui, twins, tiny_models, hundred_watts):
    clip = tiny_models().clip
    (expected,) = comfyui.CLIPTextEncode().encode(clip, "a moth with a lamp")
    result, probe = twins.WattBenchTextEncode.execute(
        clip=clip, text="a moth with a lamp", meter=hundred_watts
    ).result
    assert torch.equal(result[0][0], expected[0][0])
    assert torch.equal(result[0][1]["pooled_output"], expected[0][1]["pooled_output"])
    assert list(phases_of(probe)) == ["load", "text_encode"]


def test_no_text_encoder_is_a_clear_error(twins):
    with pytest.raises(ValueError, match="holds no text encoder"):
        twins.WattBenchTextEncode.execute(clip=None, text="a moth")


def test_decoder_gives_the_core_result(comfyui, twins, tiny_models, hundred_watts):
    vae = tiny_models().vae
    samples = {"samples": torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))}
    (expected,) = comfyui.VAEDecode().decode(vae, samples)
    image, probe = twins.WattBenchVAEDecode.execute(
        samples=samples, vae=vae, meter=hundred_watts
    ).result
    assert torch.equal(image, expected)
    assert list(phases_of(probe)) == ["load", "decode"]


def test_an_unknown_meter_is_named_with_those_that_exist(twins, tiny_models):
    with pytest.raises(RuntimeError, match=r"no meter 'nvlm:0'.*estimate"):
        twins.WattBenchTextEncode.execute(clip=tiny_models().clip, text="", meter="nvlm:0")


def test_loader_gives_the_core_result(comfyui, twins, tmp_path, monkeypatch, hundred_watts):
    import folder_paths

    from ..reduced_checkpoints import write_ae_vae

    write_ae_vae(tmp_path / "ae.safetensors")
    monkeypatch.setitem(
        folder_paths.folder_names_and_paths, "vae", ([str(tmp_path)], {".safetensors"})
    )
    (expected,) = comfyui.VAELoader().load_vae("ae.safetensors")
    vae, probe = twins.WattBenchLoadVAE.execute(
        vae_name="ae.safetensors", meter=hundred_watts
    ).result
    loaded, core = vae.get_sd(), expected.get_sd()
    assert loaded.keys() == core.keys()
    assert all(torch.equal(loaded[name], core[name]) for name in core)
    assert list(phases_of(probe)) == ["load"]
