"""Runs that ComfyUI's options or other nodes' patches set apart are not of one condition."""

import pytest


@pytest.fixture
def named(comfyui, tiny_models):
    """``named(change)``: the optimizations of a clone of the tiny SDXL that ``change`` patched."""
    from wattbench.hosts.comfyui.describe import model_facts

    def optimizations(change):
        model = tiny_models().model.clone()
        return model_facts(change(model) or model)["optimizations"]

    return optimizations


def test_a_plain_and_a_probed_model_have_none(named):
    from wattbench.hosts.comfyui.sampling import observe_sampling

    assert named(lambda model: None) == ""
    assert named(lambda model: observe_sampling(model, lambda facts, seed: None)) == ""


@pytest.fixture
def ours(comfyui, tmp_path, monkeypatch):
    """Each change of ours that gives a MODEL, by what the column ``optimizations`` says of it."""
    from wattbench.attention.choices import Choices
    from wattbench.attention.plan import Setting
    from wattbench.hosts.comfyui import compile as own
    from wattbench.hosts.comfyui.attention import choose_attention
    from wattbench.hosts.comfyui.memory_format import use_channels_last
    from wattbench.hosts.comfyui.quantized.loading import quantize_model
    from wattbench.hosts.comfyui.quantized.preparation import Request
    from wattbench.offer import Offer

    monkeypatch.setattr(own, "compile_offer", lambda device, mode: Offer("compile", "", True))
    memory = Choices(tmp_path / "attention.json")
    return {
        "compile": own.compile_model,
        "channels_last": use_channels_last,
        "": lambda model: choose_attention(
            quantize_model(model, Request("int8")), Setting("sdpa"), memory
        ),
    }


def test_no_key_of_ours_is_named_beside_what_it_does(named, ours):
    for name, change in ours.items():
        assert named(change) == name


def test_a_wrapper_is_ours_by_its_code_and_not_by_its_key(named):
    from comfy.patcher_extension import WrappersMP

    from wattbench.hosts.comfyui.ledgers import Ledgers

    def add(function):
        return lambda model: model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "linear", function)

    assert named(add(Ledgers().clear)) == ""
    assert named(add(lambda executor, *args, **kw: executor(*args, **kw))) == "linear"


def test_what_core_nodes_put_on_a_model_is_named(named):
    from comfy_extras.nodes_easycache import EasyCacheNode
    from comfy_extras.nodes_freelunch import FreeU
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    def easy_cache(model):
        return EasyCacheNode.execute(model, 0.2, 0.15, 0.95, False).args[0]

    assert named(easy_cache) == "easycache"
    assert named(lambda model: FreeU.execute(model, 1.1, 1.2, 0.9, 0.2).args[0]) == (
        "output_block_patch FreeU"
    )
    assert named(lambda model: PerturbedAttentionGuidance.execute(model, 3.0).args[0]) == (
        "sampler_post_cfg_function PerturbedAttentionGuidance"
    )


def test_our_compilation_is_named_once_and_others_by_core(named, monkeypatch):
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    from wattbench.hosts.comfyui import compile as own
    from wattbench.offer import Offer

    monkeypatch.setattr(own, "compile_offer", lambda device, mode: Offer("compile", "", True))
    assert named(own.compile_model) == "compile"
    assert named(lambda model: TorchCompileModel.execute(model, "eager").args[0]) == "torch.compile"


def test_a_lora_is_named(named, tiny_models):
    name = "diffusion_model.out.2.weight"
    weight = tiny_models().model.model_state_dict()[name]
    assert named(lambda model: model.add_patches({name: (weight,)}, 1.0) and None) == (
        "patched weights"
    )


def test_launch_options_are_named_as_they_are_typed(named, monkeypatch):
    from comfy.cli_args import PerformanceFeature, args

    monkeypatch.setattr(args, "fp8_e4m3fn_unet", True)
    monkeypatch.setattr(args, "reserve_vram", 2.0)
    monkeypatch.setattr(args, "fast", {PerformanceFeature.Fp16Accumulation})
    assert named(lambda model: None) == (
        "--fast fp16_accumulation, --fp8_e4m3fn-unet, --reserve-vram 2.0"
    )


def test_every_option_exists_in_this_comfyui(comfyui):
    from comfy.cli_args import args

    from wattbench.hosts.comfyui.alterations import LAUNCH_OPTIONS

    assert {option[2:].replace("-", "_") for option in LAUNCH_OPTIONS} <= set(vars(args))


def test_previews_set_a_sampling_apart(comfyui, tiny_models, conditioning, monkeypatch):
    from comfy.cli_args import LatentPreviewMethod, args

    from wattbench.hosts.comfyui.sampling import observe_sampling

    class SeenError(Exception):
        """Carries the facts, and spares the sampling."""

    def begin(facts, seed):
        raise SeenError(facts["optimizations"])

    model = observe_sampling(tiny_models().model, begin)
    options = {"steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal"}
    for method, named in (("none", ""), ("latent2rgb", "--preview-method latent2rgb")):
        monkeypatch.setattr(args, "preview_method", LatentPreviewMethod(method))
        with pytest.raises(SeenError) as seen:
            comfyui.KSampler().sample(model, 5, **options, **conditioning)
        assert str(seen.value) == named
