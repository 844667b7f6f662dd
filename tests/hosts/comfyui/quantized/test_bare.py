"""Parameters that no linear layer of ComfyUI's models holds: told by their names alone."""

import ast
from pathlib import Path

import pytest
import torch

from wattbench.quant.formats import find
from wattbench.quant.layers import BARE, Kept, LayerRules


def models():
    """ComfyUI's models that have such parameters, small, without numbers."""
    from comfy.ldm.audio.dit import AudioDiffusionTransformer
    from comfy.ldm.hidream.model import HiDreamImageTransformer2DModel
    from comfy.ldm.hunyuan3dv2_1.hunyuandit import HunYuanDiTPlain
    from comfy.ldm.wan.model_animate import AnimateWanModel
    from comfy.ops import disable_weight_init

    blank = {"device": torch.device("meta"), "operations": disable_weight_init}
    dtype = {"dtype": torch.bfloat16}
    yield HiDreamImageTransformer2DModel(
        patch_size=2,
        num_layers=1,
        num_single_layers=1,
        caption_channels=[64, 64],
        llama_layers=[0, 1],
        **blank,
        **dtype,
    )
    yield HunYuanDiTPlain(depth=2, num_moe_layers=1, **blank, **dtype)
    yield AudioDiffusionTransformer(depth=1, num_heads=2, embed_dim=128, **blank, **dtype)
    yield AnimateWanModel(num_layers=1, **blank, **dtype)


@pytest.fixture(scope="module")
def built(comfyui):
    return list(models())


def bare_matrices(model):
    """Names of layers whose matrix is no linear layer's, embedding's or convolution's."""
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        known = (torch.nn.Linear, torch.nn.Embedding, torch.nn.modules.conv._ConvNd)
        if weight is not None and weight.ndim == 2 and not isinstance(module, known):
            yield name, tuple(weight.shape)


def test_every_bare_matrix_is_kept_by_its_name(built):
    rules, wanted = LayerRules(), find("fp8_w")
    found = [one for model in built for one in bare_matrices(model)]
    assert len(found) >= 10
    for name, shape in found:
        assert isinstance(rules.decide(name, shape, wanted), Kept), name


def test_no_pattern_is_idle_and_none_takes_a_linear_layer_elsewhere(built):
    from fnmatch import fnmatchcase

    bare = {name for model in built for name, _ in bare_matrices(model)}
    linear = {
        name
        for model in built
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    idle = [p for p in BARE if not any(fnmatchcase(name, p) for name in bare)]
    assert set(idle) <= {"*.motion_encoder.*"}, "that is the one below for a file with a prefix"
    assert not {name for name in linear for p in BARE if fnmatchcase(name, p)}


def test_no_class_with_a_matrix_of_its_own_is_missed(built):
    """What ComfyUI's sources say: a class that makes a parameter ``weight`` of two dimensions."""
    import comfy.ldm

    known = {type(module).__name__ for model in built for module in model.modules()}
    made = set()
    for path in Path(next(iter(comfy.ldm.__path__))).rglob("*.py"):
        if "vae" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and any(map(is_a_matrix, ast.walk(node))):
                made.add(node.name)
    assert {"MoEGate", "EqualLinear", "FourierFeatures"} <= made
    assert made <= known


def is_a_matrix(node):
    """``self.weight = Parameter(torch.empty(...))`` of two sizes, or of a list or tuple of two."""
    if not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "self.weight"):
        return False
    calls = [one for one in ast.walk(node.value) if isinstance(one, ast.Call)]
    empties = [one for one in calls if ast.unparse(one.func) == "torch.empty"]
    for call in empties:
        sizes = call.args
        if len(sizes) == 1 and isinstance(sizes[0], (ast.List, ast.Tuple)):
            sizes = sizes[0].elts
        if len(sizes) == 2:
            return True
    return False
