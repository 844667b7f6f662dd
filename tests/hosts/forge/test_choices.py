"""Kernels, memory formats and axes, in Forge."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from wattbench.errors import CommandError

from .conftest import script_of


def calls(run):
    return [(c.requested, c.executed, c.call_count, c.reason) for c in run.kernel_calls]


def test_forges_own_attention_is_counted(forge):
    forge.generate()
    assert calls(forge.runs[0]) == [("forge", "forge:sub_quad", 3, "")]
    assert forge.runs[0].condition.attention == "sub_quadratic"


@pytest.mark.parametrize("name", ["sdpa_math", "sub_quadratic", "split", "forge:split"])
def test_another_kernel_runs(any_forge, name):
    if name == "forge:split" and any_forge.shared.state and "Neo" in any_forge.face.FORGE.name:
        any_forge.generate(attention=name)
        assert "Forge has not registered it" in any_forge.runs[0].kernel_calls[0].reason
        return
    plain = any_forge.generate(measure=False).images[0]
    chosen = any_forge.generate(attention=name).images[0]
    assert calls(any_forge.runs[0]) == [(name, name, 3, "")]
    assert any_forge.runs[0].condition.attention == name
    difference = max(abs(a - b) for a, b in zip(plain.tobytes(), chosen.tobytes(), strict=True))
    assert difference <= 1


def test_a_kernel_that_is_not_here_falls_back_and_is_counted(forge):
    forge.generate(attention="flash_attention_2")
    ((requested, executed, count, reason),) = calls(forge.runs[0])
    assert (requested, count) == ("flash_attention_2", 3)
    assert executed.startswith("sdpa")
    assert "NVIDIA" in reason


def test_strict_fails_instead(forge):
    with pytest.raises(RuntimeError, match="flash_attention_2 cannot run"):
        forge.generate(attention="flash_attention_2", strict=True)
    assert "AttentionRefusedError" in forge.runs[0].error
    forge.assert_untouched()


def test_neos_silent_fall_back_is_counted(make_forge):
    forge = make_forge("neo")
    forge.generate()
    ((requested, executed, count, reason),) = calls(forge.runs[0])
    assert (requested, executed, count) == ("forge", "forge:pytorch", 3)
    assert "SageAttention has no kernel" in reason
    assert forge.runs[0].condition.attention == "sage"
    forge.assert_untouched()


def test_a_kernel_that_runs_has_not_fallen_back(make_forge, monkeypatch):
    forge = make_forge("neo")
    import backend.attention

    def sageattn(q, k, v, attn_mask=None, **kw):
        return backend.attention._attend(q, k, v, 2, attn_mask)

    monkeypatch.setattr(backend.attention, "sageattn", sageattn)
    forge.generate()
    assert calls(forge.runs[0]) == [("forge", "forge:sage", 3, "")]


def test_calls_outside_of_samplings_are_not_the_denoisers(make_forge):
    def attend(self, p, images, *args, **kwargs):
        import backend.nn.unet

        x = torch.ones(1, 4, 8)
        backend.nn.unet.attention_function(x, x, x, 2)

    forge = make_forge(others=[script_of(postprocess_image=attend)])
    forge.generate()
    assert calls(forge.runs[0]) == [("forge", "forge:sub_quad", 3, "")]


def test_convolutions_are_rearranged_for_the_sampling_alone(make_forge):
    seen = []

    def look(self, p, *args, **kwargs):
        unet = p.sd_model.forge_objects.unet.model.diffusion_model
        unet.inp.register_forward_hook(
            lambda part, *_: seen.append(
                part.weight.is_contiguous(memory_format=torch.channels_last)
            )
        )

    forge = make_forge(others=[script_of(process=look)])
    forge.generate(memory_format="channels_last")
    assert seen == [True] * 3
    assert forge.unet.inp.weight.is_contiguous()
    assert forge.runs[0].condition.optimizations.startswith("channels_last")


def test_they_are_put_back_after_a_failure(make_forge):
    def fail(self, p, *args, **kwargs):
        p.sd_model.forge_objects.unet.model.diffusion_model.out.register_forward_hook(
            lambda *_: 1 / 0
        )

    forge = make_forge(others=[script_of(process=fail)])
    with pytest.raises(ZeroDivisionError):
        forge.generate(memory_format="channels_last")
    assert forge.unet.inp.weight.is_contiguous()
    forge.assert_untouched()


class AxisOption:
    def __init__(self, label, kind, apply, confirm=None, cost=0.0, choices=None):
        self.label, self.type, self.apply = label, kind, apply
        self.confirm, self.choices = confirm, choices


@pytest.fixture
def axes(forge):
    """Our axes in Forge's plot, by name."""
    module = SimpleNamespace(axis_options=[AxisOption("Nothing", str, None)], AxisOption=AxisOption)
    forge.scripts.scripts_data.append(SimpleNamespace(module=module))
    for _ in range(2):
        forge.face.axes.add_axes()
    labels = [option.label for option in module.axis_options]
    assert labels == ["Nothing", *dict.fromkeys(labels[1:])]
    return {option.label.removeprefix("[WattBench] "): option for option in module.axis_options}


def test_a_cell_of_a_grid_is_a_run_with_its_choice(forge, axes):
    outer = forge.processing_of(measure=False)
    pictures = []
    for name in ("forge:split", "sdpa_math"):
        cell = forge.processing_of(measure=False)
        axes["Attention"].apply(cell, name, [])
        pictures += forge.processing.process_images(cell).images
    outer.close()
    assert [run.condition.attention for run in forge.runs] == ["forge:split", "sdpa_math"]
    assert all(run.energy is not None for run in forge.runs)
    assert [(picture.width, picture.height) for picture in pictures] == [(64, 78), (64, 78)]
    assert pictures[0].crop((0, 64, 64, 78)).getcolors() != [(64 * 14, (255, 255, 255))]
    forge.assert_untouched()


def test_an_unknown_value_is_refused_before_the_grid(axes):
    with pytest.raises(RuntimeError, match="'nonsense' is none of"):
        axes["Attention"].confirm(None, ["sdpa", "nonsense"])
    axes["Weights"].confirm(None, ["bnb-nf4"])


def test_weights_are_loaded_anew_and_put_back(forge, axes):
    before = forge.sd_models.model_data.forge_loading_parameters
    cell = forge.processing_of()
    axes["Weights"].apply(cell, "bnb-nf4", [])
    assert forge.sd_models.model_data.forge_loading_parameters["unet_storage_dtype"] == "nf4"
    forge.processing.process_images(cell)
    cell.close()
    assert forge.sd_models.model_data.forge_loading_parameters is before


def test_weights_of_one_generation(forge, monkeypatch):
    """Asked for over the API: they are those of that generation, and of no other."""
    seen = []
    load = forge.sd_models.forge_model_reload

    def reload():
        seen.append(forge.sd_models.model_data.forge_loading_parameters.get("unet_storage_dtype"))
        return load()

    monkeypatch.setattr(forge.sd_models, "forge_model_reload", reload)
    forge.generate(weights="bnb-nf4", measure=False)
    forge.generate()
    assert seen == ["nf4", None]


def test_a_power_limit_needs_a_board(forge, axes):
    with pytest.raises(CommandError, match="Nothing was changed"):
        axes["Power limit (W)"].apply(forge.processing_of(), 150.0, [])
