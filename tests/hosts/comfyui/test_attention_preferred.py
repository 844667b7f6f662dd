"""The attention that a checkpoint names for a layer: ComfyUI's contract from 0.38 on."""

import functools
from types import SimpleNamespace

import pytest
import torch


def newer_wrapper(func):
    """As ComfyUI's own from 0.38 on: the preference is taken from the call, an override goes first.

    The names of its arguments and of the local variable are the contract.
    """

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        preferred_attention = kwargs.pop("preferred_attention", None)
        if "_inside_attn_wrapper" in kwargs:
            return func(*args, **kwargs)
        kwargs["_inside_attn_wrapper"] = True
        override = kwargs.get("transformer_options", {}).get("optimized_attention_override")
        if override is not None:
            return override(func, *args, **kwargs)
        if preferred_attention is not None and preferred_attention.function is not None:
            return preferred_attention.function(*args, **kwargs)
        return func(*args, **kwargs)

    return wrapper


@pytest.fixture(params=["installed", "newer"])
def attention(request, comfyui, monkeypatch):
    """ComfyUI's PyTorch attention behind its own wrapper, and behind the newer one."""
    import comfy.ldm.modules.attention as core

    if request.param == "newer":
        made = newer_wrapper(core.attention_pytorch.__wrapped__)
        monkeypatch.setattr(core, "attention_pytorch", made)
        monkeypatch.setitem(core.REGISTERED_ATTENTION_FUNCTIONS, "pytorch", made)
    return core.attention_pytorch


@pytest.fixture
def override(attention, tmp_path):
    from wattbench.attention.choices import Choices
    from wattbench.attention.plan import Setting
    from wattbench.hosts.comfyui.attention import Override
    from wattbench.offer import Machine

    def make(requested, previous=None):
        choices = Choices(tmp_path / "a.json")
        return Override(Setting(requested), Machine("cpu", "cpu"), choices, previous)

    return make


def knows_preferences():
    from wattbench.hosts.comfyui.attention_preferred import wrapper_code

    return wrapper_code() is not None


def halved(q, k, v, heads, *args, **kwargs):
    """An attention like no other, so that who ran it shows."""
    return q * 0.5


def call(attention, override, preferred=None):
    q, k, v = torch.randn(3, 1, 8, 32, generator=torch.Generator().manual_seed(0))
    options = {"optimized_attention_override": override}
    named = {} if preferred is None else {"preferred_attention": preferred}
    return q, attention(q, k, v, 2, transformer_options=options, **named)


def read(override):
    return {c.executed: (c.call_count, c.reason) for c in override.read()}


def test_the_baseline_runs_what_comfyui_would(attention, override):
    mine = override("comfyui")
    _, plain = call(attention, mine)
    assert read(mine) == {"comfyui:pytorch": (1, "")}
    if not knows_preferences():
        return
    mine.clear()
    layer = SimpleNamespace(function=halved)
    q, out = call(attention, mine, layer)
    assert torch.equal(out, q * 0.5)
    assert read(mine) == {"comfyui:halved": (1, "")}
    _, again = call(attention, mine, SimpleNamespace(function=None))
    assert torch.equal(again, plain)


def test_other_choices_say_what_they_pass_over(attention, override):
    if not knows_preferences():
        pytest.skip("this ComfyUI has no preferences; the other wrapper runs this")
    mine = override("sdpa_math")
    layer = SimpleNamespace(function=functools.partial(halved, tau=1.0))
    q, out = call(attention, mine, layer)
    assert not torch.equal(out, q * 0.5)
    call(attention, mine)
    assert [(c.executed, c.call_count, "comfyui:halved" in c.reason) for c in mine.read()] == [
        ("sdpa_math", 1, True),
        ("sdpa_math", 1, False),
    ]


def test_another_nodes_override_in_between_hides_nothing(attention, override):
    if not knows_preferences():
        pytest.skip("this ComfyUI has no preferences; the other wrapper runs this")
    mine = override("comfyui", previous=lambda function, *args, **kw: function(*args, **kw))
    q, out = call(attention, mine, SimpleNamespace(function=halved))
    assert torch.equal(out, q * 0.5)


def test_outside_of_a_wrapper_nothing_is_preferred(attention, override):
    core = attention.__wrapped__
    mine = override("comfyui")
    q, k, v = torch.randn(3, 1, 8, 32, generator=torch.Generator().manual_seed(0))
    out = mine(core, q, k, v, 2, _inside_attn_wrapper=True)
    assert torch.equal(out, core(q, k, v, 2, _inside_attn_wrapper=True))
