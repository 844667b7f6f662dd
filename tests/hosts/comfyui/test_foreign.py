"""Who has replaced a function of ComfyUI's sampling is named, however well it is disguised."""

import functools
import sys

import pytest


@pytest.fixture
def foreign(comfyui):
    from wattbench.hosts.comfyui import foreign

    return foreign


def pack_function(tmp_path, original):
    """A function as a node pack in ``custom_nodes`` makes it, disguised as the original."""
    file = tmp_path / "custom_nodes" / "ComfyUI-Faster" / "patch.py"
    space = {"original": original, "functools": functools}
    source = "@functools.wraps(original)\ndef patched(*a, **k):\n    return original(*a, **k)\n"
    exec(compile(source, str(file), "exec"), space)
    return space["patched"]


def test_comfyui_as_it_is_has_nothing_foreign(foreign, tiny_models):
    assert foreign.replaced_functions() == []
    for architecture in ("sdxl", "z_image_turbo", "flux"):
        assert foreign.replaced_forward(tiny_models(architecture).model) == []


@pytest.mark.parametrize(
    "name",
    [
        "nodes.common_ksampler",
        "comfy.samplers.sampling_function",
        "comfy.samplers.calc_cond_batch",
        "comfy.samplers.CFGGuider.predict_noise",
        "comfy.samplers.KSAMPLER.sample",
        "comfy.model_base.BaseModel.apply_model",
        "comfy.sample.sample",
        "comfy.patcher_extension.WrapperExecutor.execute",
    ],
)
def test_a_replaced_function_is_named_with_its_pack(foreign, tmp_path, monkeypatch, name):
    module = next(m for m in foreign.SAMPLING_FUNCTIONS if name.startswith(f"{m}."))
    *holders, last = name.removeprefix(f"{module}.").split(".")
    holder = functools.reduce(getattr, holders, sys.modules[module])
    monkeypatch.setattr(holder, last, pack_function(tmp_path, getattr(holder, last)))
    assert foreign.replaced_functions() == [f"{name} by ComfyUI-Faster"]


def test_a_replaced_forward_is_part_of_the_condition(foreign, tmp_path, monkeypatch, tiny_models):
    from wattbench.hosts.comfyui.describe import model_facts

    model = tiny_models().model
    network = model.model.diffusion_model
    assert model_facts(model)["optimizations"] == ""
    monkeypatch.setattr(network, "forward", pack_function(tmp_path, network.forward))
    assert model_facts(model)["optimizations"] == "UNetModel.forward by ComfyUI-Faster"
