"""Which settings of a graph set its condition apart."""

from pathlib import Path

import pytest

from ...waiting import result_of

EXTRAS = ("freelunch", "custom_sampler", "primitive")


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


GRAPH = {
    "m": node("CheckpointLoaderSimple", ckpt_name="sdxl.safetensors"),
    "pos": node("CLIPTextEncode", clip=["m", 1], text="a moth"),
    "l": node("EmptyLatentImage", width=64, height=64, batch_size=1),
    "k": node(
        "KSampler",
        **{"model": ["m", 0], "positive": ["pos", 0], "negative": ["pos", 0]},
        **{"latent_image": ["l", 0], "seed": 1, "steps": 3, "cfg": 7.0, "denoise": 1.0},
        **{"sampler_name": "euler", "scheduler": "normal"},
    ),
    "d": node("VAEDecode", samples=["k", 0], vae=["m", 2]),
}


@pytest.fixture
def told(comfyui, monkeypatch):
    """What is told of a graph with other nodes in it, behind its last node."""
    from comfy_execution import progress
    from comfy_execution.graph import DynamicPrompt

    from wattbench.hosts.comfyui.workspace import settings_behind

    monkeypatch.setattr(comfyui, "NODE_CLASS_MAPPINGS", dict(comfyui.NODE_CLASS_MAPPINGS))
    monkeypatch.setattr(progress, "global_progress_registry", None)
    for name in EXTRAS:
        path = Path(comfyui.__file__).parent / "comfy_extras" / f"nodes_{name}.py"
        assert result_of(comfyui.load_custom_node(str(path), module_parent="comfy_extras"))

    def settings(others=None, **inputs):
        sampler = others.pop("k", None) if others else None
        sampler = sampler or node("KSampler", **{**GRAPH["k"]["inputs"], **inputs})
        graph = {**GRAPH, **(others or {}), "k": sampler}
        progress.reset_progress_state("prompt", DynamicPrompt(graph))
        return settings_behind("d")

    return settings


def test_a_plain_graph_has_none_and_a_seed_is_none(told):
    assert told() == told(seed=2) == told({"s": node("PrimitiveInt", value=3)}, seed=["s", 0]) == ""


def test_two_strengths_of_a_patch_are_two(told):
    def patched(b1):
        patch = node("FreeU_V2", model=["m", 0], b1=b1, b2=1.4, s1=0.9, s2=0.2)
        return told({"f": patch}, model=["f", 0])

    assert patched(1.3) == "FreeU_V2 b1 1.3 b2 1.4 s1 0.9 s2 0.2"
    assert patched(1.1) != patched(1.3)


def test_two_loras_and_two_strengths_are_others(told):
    def patched(name, strength):
        lora = node(
            "LoraLoader",
            **{"model": ["m", 0], "clip": ["m", 1], "lora_name": name},
            **{"strength_model": strength, "strength_clip": 1.0},
        )
        return told({"f": lora}, model=["f", 0])

    found = {patched(*it) for it in (("a.safetensors", 0.8), ("a.safetensors", 0.4), ("b", 0.8))}
    assert len(found) == 3


def test_where_a_prompt_holds_and_how_much_are_told(told):
    def held(end):
        part = node("ConditioningSetTimestepRange", conditioning=["pos", 0], start=0.0, end=end)
        return told({"r": part}, positive=["r", 0])

    assert held(0.5) == "ConditioningSetTimestepRange start 0.0 end 0.5"
    assert held(0.5) != held(0.7)


def test_a_denoise_below_one_is_told_over_a_wire_too(told):
    assert told(denoise=0.3) == "denoise 0.3"
    assert told({"v": node("PrimitiveFloat", value=0.3)}, denoise=["v", 0]) == "denoise 0.3"


def test_options_of_a_sampler_and_noise_levels_are_told(told):
    def custom(eta, denoise, noise_seed=1):
        others = {
            "sm": node("SamplerEulerAncestral", eta=eta, s_noise=1.0),
            "sg": node(
                "BasicScheduler", model=["m", 0], scheduler="normal", steps=3, denoise=denoise
            ),
            "g": node("BasicGuider", model=["m", 0], conditioning=["pos", 0]),
            "no": node("RandomNoise", noise_seed=noise_seed),
            "k": node(
                "SamplerCustomAdvanced",
                **{"noise": ["no", 0], "guider": ["g", 0], "sampler": ["sm", 0]},
                **{"sigmas": ["sg", 0], "latent_image": ["l", 0]},
            ),
        }
        return told(others)

    assert custom(0.5, 1.0) == (
        "SamplerEulerAncestral eta 0.5 s_noise 1.0, "
        "BasicScheduler scheduler normal steps 3 denoise 1.0"
    )
    assert len({custom(0.5, 1.0), custom(1.0, 1.0), custom(0.5, 0.6)}) == 3
    assert custom(0.5, 1.0) == custom(0.5, 1.0, noise_seed=2)


def test_outputs_that_a_class_does_not_declare_are_of_any_type(told):
    """As nodes have that grow outputs."""
    assert told(denoise=0.3, latent_image=["m", 9]) == "denoise 0.3"


def test_what_is_loaded_by_another_node_is_named(told):
    """Two ControlNets are two conditions, though both are one class of nodes."""
    control = {
        "cn": node("ControlNetLoader", control_net_name="canny.safetensors"),
        "i": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
        "a": node(
            "ControlNetApply",
            conditioning=["pos", 0],
            control_net=["cn", 0],
            image=["i", 0],
            strength=0.5,
        ),
    }
    text = told(control, positive=["a", 0])
    assert "ControlNetLoader control_net_name canny.safetensors" in text
    assert "ControlNetApply strength 0.5" in text
    assert "CheckpointLoaderSimple" not in text
