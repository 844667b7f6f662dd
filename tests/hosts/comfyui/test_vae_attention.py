"""A VAE's attention is chosen for a copy; the original keeps ComfyUI's function."""

import pytest
import torch


@pytest.fixture
def choose(comfyui):
    from wattbench.hosts.comfyui.vae_attention import choose_vae_attention

    return choose_vae_attention


@pytest.fixture
def latent():
    return torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))


def calls_of(vae):
    from wattbench.hosts.comfyui.ledgers import ledgers_of

    return [
        (c.requested, c.executed, c.call_count, c.reason) for c in ledgers_of(vae.patcher).read()
    ]


@pytest.mark.parametrize("backend", ["sdpa", "sdpa_math", "sub_quadratic", "split"])
def test_the_picture_is_the_same_and_the_call_is_counted(choose, tiny_models, latent, backend):
    vae = tiny_models().vae
    before = vae.decode(latent)
    chosen = choose(vae, backend)
    assert torch.allclose(chosen.decode(latent), before, atol=1e-4)
    assert calls_of(chosen) == [(f"vae {backend}", f"vae {backend}", 1, "")]
    assert torch.equal(vae.decode(latent), before)
    assert calls_of(vae) == []


def test_encoding_is_counted_too(choose, tiny_models):
    vae = tiny_models().vae
    image = torch.rand((1, 64, 64, 3), generator=torch.Generator().manual_seed(0))
    chosen = choose(vae, "sub_quadratic")
    assert torch.allclose(chosen.encode(image), vae.encode(image), atol=1e-4)
    assert calls_of(chosen)[0][2] == 1


def test_a_kernel_that_cannot_run_falls_back_and_is_told(choose, tiny_models, latent):
    """A CPU has no FlashAttention."""
    vae = tiny_models().vae
    chosen = choose(vae, "flash_attention_2")
    assert torch.equal(chosen.decode(latent), vae.decode(latent))
    ((requested, executed, count, reason),) = calls_of(chosen)
    assert (requested, count) == ("vae flash_attention_2", 1)
    assert executed.startswith("vae ")
    assert executed.endswith("_attention")
    assert "it needs an NVIDIA" in reason


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (("raise",), "it raised RuntimeError: planted"),
        (("wrong",), "its error against fp32 is 0.5"),
        (("", "raise"), "it raised RuntimeError: planted"),
    ],
    ids=["raises", "wrong", "raises later"],
)
def test_a_faulty_kernel_does_not_reach_the_picture(
    choose, tiny_models, latent, monkeypatch, faults, reason
):
    from wattbench.attention import backend_named

    backend, left = backend_named("split"), list(faults)
    kernel = backend.kernel

    def faulty(*tensors):
        fault = left.pop(0)
        if fault == "raise":
            raise RuntimeError("planted")
        return kernel(*tensors) * (0.5 if fault else 1.0)

    monkeypatch.setitem(vars(backend), "kernel", faulty)
    vae = tiny_models().vae
    chosen = choose(vae, "split")
    assert torch.equal(chosen.decode(latent), vae.decode(latent))
    assert torch.equal(chosen.decode(latent), vae.decode(latent))
    ((requested, executed, count, told),) = calls_of(chosen)
    assert (requested, count) == ("vae split", 2)
    assert executed != "vae split"
    assert told.startswith(reason)


@pytest.mark.parametrize("last", ["sub_quadratic", "flash_attention_2"])
def test_the_last_choice_counts(choose, tiny_models, latent, last):
    from wattbench.hosts.comfyui.identity import optimizations_of

    vae = tiny_models().vae
    first = choose(vae, "split")
    chosen = choose(first, last)
    assert torch.allclose(chosen.decode(latent), vae.decode(latent), atol=1e-4)
    ((requested, executed, count, _),) = calls_of(chosen)
    assert (requested, count) == (f"vae {last}", 1)
    assert (executed == requested) == (last == "sub_quadratic")
    assert calls_of(first) == []
    assert optimizations_of(chosen.patcher) == (f"attention {last}",)


def test_it_goes_with_the_memory_format(choose, tiny_models, latent):
    from wattbench.hosts.comfyui.identity import optimizations_of
    from wattbench.hosts.comfyui.memory_format import use_channels_last_vae

    vae = tiny_models().vae
    both = choose(use_channels_last_vae(vae), "sub_quadratic")
    assert torch.allclose(both.decode(latent), vae.decode(latent), atol=1e-4)
    assert optimizations_of(both.patcher) == ("attention sub_quadratic", "channels_last")
    assert optimizations_of(vae.patcher) == ()


def test_unknown_names_and_vaes_without_attention_are_refused(choose, tiny_models):
    vae = tiny_models().vae
    with pytest.raises(ValueError, match="unknown attention backend 'magic'"):
        choose(vae, "magic")
    with pytest.raises(ValueError, match=r"no attention that can be chosen\. Bypass"):
        choose(_bare(vae), "sdpa")


def _bare(vae):
    """The VAE with another module in its patcher, which has no attention."""
    import copy

    bare = copy.copy(vae)
    bare.patcher = vae.patcher.clone()
    bare.patcher.model = torch.nn.Conv2d(1, 1, 1)
    return bare
