"""Who has replaced a function of ComfyUI's sampling is named, however well it is disguised."""

import functools
import sys
import types

import pytest
import torch


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
        assert foreign.replaced_parts(tiny_models(architecture).model) == []


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
        "comfy.samplers.KSampler.set_steps",
        "comfy.samplers.CFGGuider.set_conds",
        "comfy.sd.VAE.decode",
        "comfy.sd.CLIP.encode_from_tokens_scheduled",
        "comfy.ldm.modules.attention.attention_pytorch",
        "torch.nn.functional.scaled_dot_product_attention",
        "torch.nn.functional.linear",
        "nodes.VAEDecode.decode",
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


def patch_class_of_blocks(monkeypatch, tmp_path, model):
    blocks = [m for m in model.model.diffusion_model.modules() if type(m).__name__ == "ResBlock"]
    kind = type(blocks[0])
    monkeypatch.setattr(kind, "_forward", pack_function(tmp_path, kind._forward))
    return "ResBlock._forward by ComfyUI-Faster"


def patch_class_of_network(monkeypatch, tmp_path, model):
    kind = type(model.model.diffusion_model)
    monkeypatch.setattr(kind, "_forward", pack_function(tmp_path, kind._forward))
    return "UNetModel._forward by ComfyUI-Faster"


def patch_one_block(monkeypatch, tmp_path, model):
    block = next(m for m in model.model.diffusion_model.modules() if "Block" in type(m).__name__)
    monkeypatch.setattr(block, "forward", pack_function(tmp_path, block.forward))
    return f"{type(block).__name__}.forward by ComfyUI-Faster"


def patch_model_object(monkeypatch, tmp_path, model):
    base = model.model
    monkeypatch.setattr(base, "apply_model", pack_function(tmp_path, base.apply_model))
    return "model.apply_model by ComfyUI-Faster"


def hook_network(monkeypatch, tmp_path, model):
    network = model.model.diffusion_model
    hooks = {0: pack_function(tmp_path, lambda *_: None)}
    monkeypatch.setattr(network, "_forward_hooks", hooks)
    return "UNetModel._forward_hooks by ComfyUI-Faster"


def another_class(monkeypatch, tmp_path, model):
    """As a pack's own Linear, of which a network's layers are."""
    network = model.model.diffusion_model
    layer = next(m for m in network.modules() if isinstance(m, torch.nn.Linear))
    name = "wattbench_test_pack"
    module = types.ModuleType(name)
    module.__file__ = str(tmp_path / "custom_nodes" / "ComfyUI-Faster" / "ops.py")
    monkeypatch.setitem(sys.modules, name, module)
    kind = type("FastLinear", (type(layer),), {"__module__": name})
    monkeypatch.setattr(layer, "__class__", kind)
    return "FastLinear by ComfyUI-Faster"


@pytest.mark.parametrize(
    "patch",
    [
        patch_class_of_blocks,
        patch_class_of_network,
        patch_one_block,
        patch_model_object,
        hook_network,
        another_class,
    ],
)
def test_a_patch_of_any_part_of_a_model_is_named(
    foreign, tmp_path, monkeypatch, tiny_models, patch
):
    model = tiny_models().model
    name = patch(monkeypatch, tmp_path, model)
    assert foreign.replaced_parts(model) == [name]
    monkeypatch.undo()
    assert foreign.replaced_parts(model) == []


def test_a_patched_guider_or_sampler_is_named(foreign, tmp_path, monkeypatch, tiny_models):
    import comfy.k_diffusion.sampling as k_diffusion
    from comfy.samplers import CFGGuider, ksampler
    from comfy_extras.nodes_custom_sampler import Guider_DualCFG

    model = tiny_models().model
    guider = Guider_DualCFG(model)
    assert foreign.replaced_in_sampler(guider, ksampler("euler")) == []
    with monkeypatch.context() as patching:
        patched = pack_function(tmp_path, Guider_DualCFG.predict_noise)
        patching.setattr(Guider_DualCFG, "predict_noise", patched)
        named = ["Guider_DualCFG.predict_noise by ComfyUI-Faster"]
        assert foreign.replaced_in_sampler(guider, ksampler("euler")) == named
    plain = CFGGuider(model)
    plain.predict_noise = pack_function(tmp_path, plain.predict_noise)
    named = ["CFGGuider.predict_noise by ComfyUI-Faster"]
    assert foreign.replaced_in_sampler(plain, ksampler("euler")) == named
    patched = pack_function(tmp_path, k_diffusion.sample_euler)
    monkeypatch.setattr(k_diffusion, "sample_euler", patched)
    named = ["sample_euler by ComfyUI-Faster"]
    assert foreign.replaced_in_sampler(guider, ksampler("euler")) == named
