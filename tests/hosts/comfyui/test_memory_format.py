"""channels_last is lent to one clone while it computes, and the original stays what it was."""

import pytest
import torch

SAMPLING = {"steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"}


@pytest.fixture
def formats(comfyui):
    from wattbench.hosts.comfyui import memory_format

    return memory_format


def is_plain(module):
    return all(parameter.is_contiguous() for parameter in module.parameters())


def watch_formats(module, seen):
    """Note whether a 3 x 3 convolution's weights are in channels_last whenever it is called."""
    part = next(p for p in module.modules() if getattr(p, "kernel_size", None) == (3, 3))
    return part.register_forward_pre_hook(
        lambda part, _: seen.append(part.weight.is_contiguous(memory_format=torch.channels_last))
    )


def test_only_the_clone_computes_in_channels_last(comfyui, formats, tiny_models, conditioning):
    model = tiny_models().model
    unet = model.model.diffusion_model
    sample = comfyui.KSampler().sample
    seen = []
    with watch_formats(unet, seen):
        (before,) = sample(model, 5, **SAMPLING, **conditioning)
        (changed,) = sample(formats.use_channels_last(model), 5, **SAMPLING, **conditioning)
        assert is_plain(unet)
        (after,) = sample(model, 5, **SAMPLING, **conditioning)
    assert seen == [False, False, True, True, False, False]
    assert torch.equal(before["samples"], after["samples"])
    difference = (changed["samples"] - before["samples"]).norm() / before["samples"].norm()
    assert difference < 1e-3


def test_a_cancelled_sampling_puts_the_weights_back(comfyui, formats, tiny_models, conditioning):
    import comfy.model_management as management

    model = tiny_models().model
    seen = []
    management.interrupt_current_processing(True)
    with (
        watch_formats(model.model.diffusion_model, seen),
        pytest.raises(management.InterruptProcessingException),
    ):
        comfyui.KSampler().sample(formats.use_channels_last(model), 5, **SAMPLING, **conditioning)
    assert is_plain(model.model.diffusion_model)


def test_lora_and_a_further_clone_keep_the_format(comfyui, formats, tiny_models, conditioning):
    """A weight patch on top: the same picture as without the format, and clean weights after."""
    model = tiny_models().model
    name = "diffusion_model.out.2.weight"
    patch = {name: (torch.full_like(model.model_state_dict()[name], 0.1),)}
    patched, changed = model.clone(), formats.use_channels_last(model).clone()
    for clone in (patched, changed):
        assert clone.add_patches(patch, 1.0)
    sample = comfyui.KSampler().sample
    (expected,) = sample(patched, 5, **SAMPLING, **conditioning)
    (plain,) = sample(model, 5, **SAMPLING, **conditioning)
    (result,) = sample(changed, 5, **SAMPLING, **conditioning)
    norm = expected["samples"].norm()
    assert (result["samples"] - expected["samples"]).norm() / norm < 1e-3
    assert (plain["samples"] - expected["samples"]).norm() / norm > 1e-3
    assert is_plain(model.model.diffusion_model)


def test_conditions_differ_by_it(formats, tiny_models):
    from wattbench.hosts.comfyui.describe import model_facts, vae_facts
    from wattbench.measure.protocol.observation import join_optimizations

    models = tiny_models()
    model = formats.use_channels_last(formats.use_channels_last(models.model))
    vae = formats.use_channels_last_vae(models.vae)
    assert model_facts(models.model)["optimizations"] == ""
    assert model_facts(model)["optimizations"] == "channels_last"
    assert vae_facts(vae) == {
        "vae": "AutoencoderKL fp32",
        "optimizations": "vae channels_last",
    }
    joined = join_optimizations(model_facts(model), {}, vae_facts(vae))
    assert joined == "channels_last, vae channels_last"
    assert join_optimizations(model_facts(models.model), vae_facts(models.vae)) == ""


def test_only_the_vaes_copy_computes_in_channels_last(formats, tiny_models):
    vae = tiny_models().vae
    latent = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    seen = []
    with watch_formats(vae.patcher.model.decoder, seen):
        before = vae.decode(latent)
        changed = formats.use_channels_last_vae(vae).decode(latent)
        after = vae.decode(latent)
    assert seen == [False, True, False]
    assert torch.equal(before, after)
    assert torch.allclose(before, changed, atol=1e-4)
    assert is_plain(vae.patcher.model)
    image = torch.rand((1, 64, 64, 3), generator=torch.Generator().manual_seed(0))
    encoded = formats.use_channels_last_vae(vae).encode(image)
    assert torch.allclose(encoded, vae.encode(image), atol=1e-4)


def test_a_model_without_convolutions_is_refused(formats, tiny_models):
    with pytest.raises(ValueError, match=r"no 2-D convolutions.*Bypass this node"):
        formats.use_channels_last(tiny_models("z_image_turbo").model)


def test_rearranged_in_place_a_weight_keeps_its_values_and_address(formats):
    part = torch.nn.Conv2d(4, 6, 3)
    weight, address = part.weight.detach().clone(), part.weight.data_ptr()
    formats.rearrange_in_place(part.weight, torch.channels_last)
    assert part.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(part.weight, weight)
    formats.rearrange_in_place(part.weight, torch.contiguous_format)
    assert part.weight.is_contiguous()
    assert torch.equal(part.weight, weight)
    assert part.weight.data_ptr() == address
