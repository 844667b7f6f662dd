"""The nodes of the levers, and how a measured run shows them."""

import pytest

SAMPLING = {"steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


@pytest.fixture
def nodes(comfyui):
    from wattbench.nodes import optimize

    return optimize


def test_memory_format_takes_a_model_a_vae_or_both(nodes, tiny_models):
    models = tiny_models()
    model, vae = nodes.WattBenchMemoryFormat.execute(models.model, models.vae).result
    assert model.model is models.model.model
    assert vae.patcher.model is models.vae.patcher.model
    only, blank = nodes.WattBenchMemoryFormat.execute(model=models.model).result
    assert only.model is models.model.model
    assert type(blank).__name__ == "ExecutionBlocker"
    with pytest.raises(ValueError, match="connect a model, a VAE or both"):
        nodes.WattBenchMemoryFormat.execute()


def test_compile_names_its_choices_in_the_condition(nodes, tiny_models):
    from wattbench.hosts.comfyui.identity import optimizations_of

    for dynamic, name in (("auto", "compile"), ("always", "compile dynamic")):
        (model,) = nodes.WattBenchCompile.execute(
            tiny_models().model, "reduce-overhead", dynamic
        ).result
        assert optimizations_of(model) == (name,)


def test_a_collected_run_shows_the_levers_of_model_and_vae(
    comfyui, nodes, tiny_models, conditioning, hundred_watts, workspace_folder
):
    """Probe Model and VAE Decode (WattBench): names, and the calls of the VAE's kernel."""
    from wattbench.nodes import probe, twins

    models = tiny_models()
    (model, _) = nodes.WattBenchMemoryFormat.execute(models.model).result
    (vae,) = nodes.WattBenchVAEAttention.execute(models.vae, "sub_quadratic").result
    probed, sampled = probe.WattBenchProbeModel.execute(model, hundred_watts).result
    (latent,) = comfyui.KSampler().sample(probed, 5, **SAMPLING, **conditioning)
    image, decoded = twins.WattBenchVAEDecode.execute(latent, vae, hundred_watts).result
    probes = {"probe0": sampled, "probe1": decoded}
    listed = {name: [value] for name, value in probes.items()}
    _, (run,) = probe.WattBenchCollect.execute([image], listed).result
    assert run.condition.optimizations == "channels_last, vae attention sub_quadratic"
    (calls,) = run.kernel_calls
    assert (calls.executed, calls.call_count) == ("vae sub_quadratic", 1)


@pytest.fixture
def dynamic(comfyui):
    """A tiny model of the class that ComfyUI takes where dynamic VRAM is in force, on a GPU."""
    import comfy.model_patcher

    from wattbench.hosts.comfyui.synthetic import build

    model = build("sdxl", "tiny", "fp32", 0).model
    model.__class__ = comfy.model_patcher.ModelPatcherDynamic
    return model


def test_static_vram_is_for_one_clone(comfyui, nodes, dynamic, tiny_models, conditioning):
    from wattbench.hosts.comfyui.identity import identity_of, optimizations_of

    assert dynamic.is_dynamic()
    (static,) = nodes.WattBenchStaticVRAM.execute(dynamic).result
    assert not static.is_dynamic()
    assert dynamic.is_dynamic()
    assert optimizations_of(static) == ("static vram",)
    assert optimizations_of(dynamic) == ()
    assert identity_of(static) == identity_of(dynamic)
    plain = tiny_models().model
    latents = [
        comfyui.KSampler().sample(model, 5, **SAMPLING, **conditioning)[0]["samples"]
        for model in (plain, static)
    ]
    assert (latents[0] == latents[1]).all()


def test_static_vram_keeps_patches(nodes, dynamic):
    key = "diffusion_model.out.2.weight"
    dynamic.add_patches({key: ("set", (dynamic.model.state_dict()[key],))}, 0.5)
    (static,) = nodes.WattBenchStaticVRAM.execute(dynamic).result
    assert list(static.patches) == [key]


def test_static_vram_changes_nothing_where_none_is_dynamic(nodes, tiny_models):
    model = tiny_models().model
    assert nodes.WattBenchStaticVRAM.execute(model).result == (model,)


@pytest.mark.parametrize("node", ["WattBenchStaticVRAM", "WattBenchMemoryFormat"])
def test_a_model_that_cannot_be_loaded_again_is_refused(node, nodes, dynamic):
    dynamic.cached_patcher_init = None
    with pytest.raises(ValueError, match=r"cannot load it otherwise\. Start ComfyUI with"):
        getattr(nodes, node).execute(dynamic)
