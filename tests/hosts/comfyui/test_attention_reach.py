"""What an attention choice reaches in a sampling, and that what it does not reach is said."""

from types import SimpleNamespace

import pytest
import torch

SAMPLING = {"steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
TOLERANCE = 1e-3
"""Of the latent in fp32, over two steps: kernels add in another order."""


def with_override(model, override):
    clone = model.clone()
    clone.model_options["transformer_options"]["optimized_attention_override"] = override
    return clone


def test_another_nodes_override_is_called_first(
    tiny_models, choose, sample, references, ledger_of, distance
):
    seen = []

    def other(function, *args, **kwargs):
        seen.append(kwargs["_inside_attn_wrapper"])
        return function(*args, **kwargs)

    model = choose(with_override(tiny_models().model, other), "split")
    model = choose(model, "sub_quadratic")
    assert distance(sample(model), references("sdxl")) < TOLERANCE
    (calls,) = ledger_of(model)
    assert (calls.executed, calls.call_count) == ("sub_quadratic", len(seen))


def test_calls_that_another_override_computes_are_its_own(tiny_models, choose, sample, ledger_of):
    def other(function, q, k, v, heads, *args, **kwargs):
        call = (q, k, v, heads)
        return q * 0 if k.shape[1] == 77 else function(*call, *args, **kwargs)

    model = choose(with_override(tiny_models().model, other), "split")
    sample(model)
    mine, theirs = ledger_of(model)
    assert mine.executed == "split"
    assert theirs.executed.startswith("override ")
    assert theirs.executed.endswith("other")
    assert theirs.reason == "another node's override computed the call itself"
    assert theirs.call_count == mine.call_count


def test_a_later_override_may_hand_on(
    tiny_models, choose, sample, references, ledger_of, counted, distance
):
    model = choose(tiny_models().model, "split")
    calls = counted(model)
    assert distance(sample(model), references("sdxl")) < TOLERANCE
    assert sum(entry.call_count for entry in ledger_of(model)) == len(calls)


def test_an_override_that_came_later_and_keeps_the_calls_is_named(
    tiny_models, choose, sample, ledger_of
):
    def other(function, *args, **kwargs):
        return function(*args, **kwargs)

    model = with_override(choose(tiny_models().model, "sage_2"), other)
    sample(model)
    (calls,) = ledger_of(model)
    assert (calls.requested, calls.executed, calls.call_count) == ("sage_2", "none", 0)
    assert calls.reason.startswith("the model made no attention call that the choice could reach: ")
    assert calls.reason.endswith("other came first")
    from wattbench.hosts.comfyui.attention import override_of

    assert override_of(model).read() == [calls]


def test_conditions_differ_by_all_that_is_asked(tiny_models, choose):
    """Runs of one condition are pooled, so that each must have a name of its own."""
    from wattbench.hosts.comfyui.describe import attention_requested

    def first(function, *args, **kwargs):
        return function(*args, **kwargs)

    def last(function, *args, **kwargs):
        return function(*args, **kwargs)

    first.__qualname__, last.__qualname__, name = "first", "last", attention_requested
    model = tiny_models().model
    assert name(model) == "sub_quadratic"
    assert name(with_override(model, first)) == "override first"
    before = choose(with_override(model, first), "sage_2")
    assert name(before) == "override first, sage_2"
    assert name(with_override(before, last)) == "override last, override first, sage_2"
    assert name(with_override(choose(model, "split"), last)) == "override last, split"
    assert name(choose(before, "auto", strict=True)) == "override first, auto"
    assert name(choose(model, "auto", max_error=0.1, timed=True)) == "auto, max_error 0.1, timed"


@pytest.fixture
def control_net(comfyui, tiny_models):
    """A ControlNet of core's class for the tiny SD 1.5, with weights that are all the same."""
    import comfy.ops
    from comfy.cldm.cldm import ControlNet
    from comfy.controlnet import ControlNet as Control

    config = dict(tiny_models("sd15").model.model.model_config.unet_config)
    config.pop("out_channels", None)
    net = ControlNet(hint_channels=3, operations=comfy.ops.manual_cast, **config)
    for weight in net.parameters():
        torch.nn.init.constant_(weight, 1e-3)
    return Control(net, load_device=torch.device("cpu"))


def with_control(jobs, comfyui, control):
    positive, negative = comfyui.ControlNetApplyAdvanced().apply_controlnet(
        *(jobs[name] for name in ("positive", "negative")),
        control,
        torch.full((1, 64, 64, 3), 0.5),
        *(1.0, 0.0, 1.0),
    )
    return {**jobs, "positive": positive, "negative": negative}


def test_a_controlnets_own_attention_is_said_to_be_uncounted(
    comfyui, tiny_models, choose, jobs, ledger_of, control_net
):
    import comfy.ldm.modules.attention as attention

    model = choose(tiny_models("sd15").model, "split")
    job = with_control(jobs("sd15"), comfyui, control_net)
    computed = []
    original = attention.optimized_attention

    def watched(q, *args, transformer_options=None, **kwargs):
        asked = "optimized_attention_override" in (transformer_options or {})
        computed.append(asked)
        return original(q, *args, transformer_options=transformer_options, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "optimized_attention", watched)
        comfyui.KSampler().sample(model, 3, **SAMPLING, **job)
    mine, theirs = ledger_of(model)
    assert (mine.executed, mine.call_count) == ("split", sum(computed))
    assert not all(computed)
    assert (theirs.executed, theirs.call_count) == ("none", 0)
    assert theirs.reason.startswith("ControlNets do not ask for the choice; ComfyUI's own, ")
    comfyui.KSampler().sample(model, 3, **SAMPLING, **jobs("sd15"))
    assert [calls.executed for calls in ledger_of(model)] == ["split"]


def test_an_adapter_of_convolutions_has_no_attention(comfyui):
    from comfy.controlnet import T2IAdapter

    from wattbench.hosts.comfyui.attention import out_of_reach

    conds = {"positive": [{"control": T2IAdapter(None, 3, 8, "area")}, {}]}
    assert list(out_of_reach(SimpleNamespace(conds=conds, model_options={}))) == []


def test_attention_that_another_node_replaces_is_said_to_be_uncounted(
    tiny_models, choose, sample, ledger_of
):
    replaced = tiny_models().model.clone()
    replaced.set_model_attn2_replace(lambda q, k, v, options: q * 0, "middle", 0)
    model = choose(replaced, "split")
    sample(model)
    mine, theirs = ledger_of(model)
    assert mine.executed == "split"
    assert "another node replaces the attention of some blocks" in theirs.reason
