"""Function evaluations against every sampler of ComfyUI, on a tiny real model."""

import pytest

from wattbench.law.flop import UnknownNfeError, function_evaluations, model_calls

STEPS = (1, 2, 5)


@pytest.fixture(scope="module")
def sample(comfyui_meta):
    """Sample with a tiny SD1.5; answers evaluations and the model passes of one evaluation."""
    import comfy.patcher_extension
    import comfy.sample
    import torch

    from wattbench.hosts.comfyui import synthetic

    tiny = synthetic.build("sd15", "tiny", "auto", 0)
    conditioning = tiny.clip.encode_from_tokens_scheduled(tiny.clip.tokenize("cat"))
    kinds = comfy.patcher_extension.WrappersMP

    def run(sampler, steps, cfg):
        counts = {"evaluations": 0, "passes": 0}

        def evaluation(executor, *args, **kwargs):
            counts["evaluations"] += 1
            return executor(*args, **kwargs)

        def model_pass(executor, x, *args, **kwargs):
            """Counts; what the model would answer decides nothing here, and would take longest."""
            counts["passes"] += x.shape[0]
            return x / 10

        model = tiny.model.clone()
        model.add_wrapper(kinds.PREDICT_NOISE, evaluation)
        model.add_wrapper(kinds.APPLY_MODEL, model_pass)
        latent = torch.zeros(1, 4, 4, 4)
        noise = comfy.sample.prepare_noise(latent, 0)
        comfy.sample.sample(
            model, noise, steps, cfg, sampler, "normal", conditioning, conditioning, latent,
            disable_pbar=True, seed=0,
        )  # fmt: skip
        return counts["evaluations"], counts["passes"] / counts["evaluations"]

    return run


def test_every_sampler_of_comfyui(comfyui_meta, sample):
    for sampler in comfyui_meta.comfy.samplers.SAMPLER_NAMES:
        if sampler == "dpm_adaptive":
            continue
        for steps in STEPS:
            evaluations, _ = sample(sampler, steps, 1.0)
            assert function_evaluations(sampler, steps) == evaluations, (sampler, steps)


def test_guidance_doubles_the_passes(comfyui_meta, sample):
    for sampler in ("euler", "euler_cfg_pp", "heun", "res_multistep_cfg_pp"):
        for cfg in (1.0, 7.0):
            _, passes = sample(sampler, 2, cfg)
            assert model_calls(sampler, cfg) == passes, (sampler, cfg)


def test_what_cannot_be_told_is_refused():
    with pytest.raises(UnknownNfeError, match="chooses its own steps"):
        function_evaluations("dpm_adaptive", 20)
    with pytest.raises(UnknownNfeError, match="'no_such_sampler' is not known"):
        function_evaluations("no_such_sampler", 20)
    with pytest.raises(ValueError, match="at least 1"):
        function_evaluations("euler", 0)


@pytest.mark.parametrize("cfg", [float("nan"), float("inf"), -0.1])
def test_guidance_is_a_number_of_at_least_zero(cfg):
    with pytest.raises(ValueError, match="cfg must be 0 or more"):
        model_calls("euler", cfg)
    assert model_calls("euler", 0.0) == 2
