"""The attention override in the real ComfyUI: what runs, what is counted, and what falls back."""

import pytest
import torch

ON_CPU = ("sdpa", "sdpa_flash", "sdpa_math", "sub_quadratic", "split")
ARCHITECTURES = ("sdxl", "z_image_turbo", "sd15", "flux", "sd35", "qwen_image")
TOLERANCE = 1e-3
"""Of the latent in fp32, over two steps: kernels add in another order."""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("backend", ON_CPU)
def test_the_picture_stays_and_every_call_is_counted(
    backend, architecture, tiny_models, choose, sample, references, counted, distance
):
    from wattbench.hosts.comfyui.ledgers import ledgers_of

    model = choose(tiny_models(architecture).model, backend, strict=True)
    calls = counted(model)
    assert distance(sample(model, architecture), references(architecture)) < TOLERANCE
    ledger = ledgers_of(model).read()
    assert sum(entry.call_count for entry in ledger) == len(calls) > 0
    assert {entry.requested for entry in ledger} == {backend}
    expected = "sdpa_flash" if backend == "sdpa" else backend
    assert {entry.executed for entry in ledger} == {expected}
    assert not any(entry.reason for entry in ledger)


def test_a_batch_with_a_lora(tiny_models, choose, sample, distance):
    """Patched weights and two pictures at once: the kernel sees neither."""
    base = tiny_models().model.clone()
    weights = base.model.diffusion_model.state_dict()
    name = next(n for n in weights if n.endswith("attn1.to_q.weight"))
    generator = torch.Generator().manual_seed(0)
    delta = torch.randn(weights[name].shape, generator=generator)
    base.add_patches({f"diffusion_model.{name}": ("diff", (delta,))})
    expected = sample(base, batch=2)
    assert distance(expected, sample(tiny_models().model, batch=2)) > 10 * TOLERANCE
    for backend in ("sub_quadratic", "auto"):
        assert distance(sample(choose(base, backend), batch=2), expected) < TOLERANCE


def test_only_the_clone_changes(tiny_models, choose, sample, ledger_of):
    model = tiny_models().model
    chosen = choose(model, "split")
    assert "optimized_attention_override" not in model.model_options["transformer_options"]
    sample(model)
    assert [c.executed for c in ledger_of(chosen)] == ["none"]
    again = choose(chosen, "sdpa_math")
    sample(again)
    assert {c.executed for c in ledger_of(again)} == {"sdpa_math"}
    assert [c.executed for c in ledger_of(chosen)] == ["none"]


@pytest.mark.parametrize("name", ["comfyui", "comfyui:sub_quad", "comfyui:split"])
def test_comfyuis_own_functions(name, tiny_models, choose, sample, references, ledger_of, distance):
    model = choose(tiny_models().model, name)
    assert distance(sample(model), references("sdxl")) < TOLERANCE
    (calls,) = ledger_of(model)
    assert calls.executed == {"comfyui": "comfyui:sub_quad"}.get(name, name)
    assert not calls.reason


def test_what_is_not_here_falls_back_or_stops(
    tiny_models, choose, sample, references, ledger_of, distance
):
    from wattbench.attention.plan import AttentionRefusedError

    for name, why in (("sage_2", "it needs an NVIDIA card"), ("comfyui:sage", "registered")):
        model = choose(tiny_models().model, name)
        assert distance(sample(model), references("sdxl")) < TOLERANCE
        (calls,) = ledger_of(model)
        assert (calls.requested, calls.executed) == (name, "sdpa_flash")
        assert why in calls.reason
        with pytest.raises(AttentionRefusedError, match=f"{name} cannot run the attention call"):
            sample(choose(tiny_models().model, name, strict=True))


def test_auto_chooses_counts_and_remembers(
    tiny_models, choose, sample, references, ledger_of, tmp_path, caplog, distance
):
    model = choose(tiny_models().model, "auto", timed=True)
    with caplog.at_level("INFO"):
        assert distance(sample(model), references("sdxl")) < TOLERANCE
    assert "as measured" in caplog.text
    calls = ledger_of(model)
    assert all(c.requested == "auto" and not c.reason and c.duration_s > 0 for c in calls)
    memory = (tmp_path / "attention.json").read_bytes()
    again = choose(tiny_models().model, "auto")
    sample(again)
    decisions = again.model_options["transformer_options"]["optimized_attention_override"].decisions
    assert decisions
    assert all("as remembered: " in decision for decision in decisions.values())
    assert (tmp_path / "attention.json").read_bytes() == memory


def test_timing_covers_the_kernels_only_if_asked(tiny_models, choose, sample, ledger_of):
    import time

    model = choose(tiny_models().model, "sdpa", timed=True)
    start_s = time.perf_counter()
    sample(model)
    (timed,) = ledger_of(model)
    assert 0 < timed.duration_s < time.perf_counter() - start_s
    model = choose(tiny_models().model, "sdpa")
    sample(model)
    assert ledger_of(model)[0].duration_s is None
