"""Attention calls as models make them, given to the override without a model."""

import sys

import pytest
import torch

ON_CPU = ("sdpa", "sdpa_flash", "sdpa_math", "sub_quadratic", "split")


@pytest.fixture
def override(comfyui, tmp_path):
    from wattbench.attention.choices import Choices
    from wattbench.attention.plan import Setting
    from wattbench.hosts.comfyui.attention import Override
    from wattbench.offer import Machine

    def make(requested, **setting):
        machine = Machine("cpu", "cpu")
        return Override(Setting(requested, **setting), machine, Choices(tmp_path / "a.json"))

    return make


@pytest.fixture
def core(comfyui):
    import comfy.ldm.modules.attention as attention

    return attention.attention_pytorch.__wrapped__


def call(override, core, *args, **kwargs):
    kwargs["_inside_attn_wrapper"] = True
    return override(core, *args, **kwargs), core(*args, **kwargs)


def make(heads=4, kv_heads=4, has_heads=True, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    sizes = ((heads, 50), (kv_heads, 30), (kv_heads, 30))
    tensors = [torch.randn(2, h, n, 16, generator=generator).to(dtype) for h, n in sizes]
    return tensors if has_heads else [x.transpose(1, 2).flatten(2) for x in tensors]


@pytest.mark.parametrize("name", [*ON_CPU, "auto"])
@pytest.mark.parametrize("has_heads", [True, False])
@pytest.mark.parametrize("keeps_heads", [True, False])
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("mask_shape", [None, (50, 30), (2, 50, 30), (2, 4, 50, 30), (1, 30)])
def test_layouts(override, core, name, has_heads, keeps_heads, kv_heads, mask_shape):
    q, k, v = make(kv_heads=kv_heads, has_heads=has_heads)
    mask = None
    if mask_shape:
        mask = torch.randn(mask_shape, generator=torch.Generator().manual_seed(1))
    options = {"skip_reshape": has_heads, "skip_output_reshape": keeps_heads}
    if kv_heads == 2:
        options["enable_gqa"] = True
    mine = override(name, strict=True)
    out, expected = call(mine, core, q, k, v, 4, mask, **options)
    assert out.shape == expected.shape
    assert torch.allclose(out, expected, atol=1e-5)
    assert sum(c.call_count for c in mine.read()) == 1


def test_scale_and_unknown_arguments(override, core):
    q, k, v = make()
    mine = override("split")
    out, expected = call(mine, core, q, k, v, 4, skip_reshape=True, scale=0.3)
    assert torch.allclose(out, expected, atol=1e-5)
    call(mine, core, q, k, v, 4, skip_reshape=True, window=3)
    known, unknown = mine.read()
    assert (known.executed, unknown.executed) == ("split", "comfyui:pytorch")
    assert unknown.reason == "it has the argument window"


def test_a_model_may_ask_for_fp32(override, core):
    """As SD 2 does: scores beyond the range of fp16."""
    q, k, v = (x * 300 for x in make(dtype=torch.float16))
    mine = override("sub_quadratic")
    out, _ = call(mine, core, q, k, v / 300, 4, None, torch.float32, skip_reshape=True)
    assert out.dtype == torch.float16
    assert torch.isfinite(out).all()
    assert [c.executed for c in mine.read()] == ["sub_quadratic"]


@pytest.mark.parametrize("flag", ["force", "dont"])
def test_so_may_a_launch_option(flag, override, core, monkeypatch):
    """``--force-upcast-attention`` (macOS by itself), and ``--dont-upcast-attention``."""
    import comfy.ldm.modules.attention as attention

    asked = None
    if flag == "force":
        forced = {torch.float16: torch.float32}
        monkeypatch.setattr(attention, "FORCE_UPCAST_ATTENTION_DTYPE", forced)
    else:
        monkeypatch.setattr(attention.args, "dont_upcast_attention", True)
        asked = torch.float32
    q, k, v = (x * 300 for x in make(dtype=torch.float16))
    mine = override("split")
    call(mine, core, q, k, v / 300, 4, None, asked, skip_reshape=True)
    assert [c.executed for c in mine.read()] == [{"force": "split", "dont": "sdpa_flash"}[flag]]


def test_a_model_may_refuse_low_precision(override, core, monkeypatch):
    plant(monkeypatch, "split", lambda q, k, v, m, s: core(q, k, v, 4, m, **HND) * 1.01)
    monkeypatch.setitem(vars(backend("split")), "is_exact", False)
    q, k, v = make()
    mine = override("split")
    call(mine, core, q, k, v, 4, skip_reshape=True)
    call(mine, core, q, k, v, 4, skip_reshape=True, low_precision_attention=False)
    first, second = mine.read()
    assert (first.executed, second.executed) == ("split", "sdpa_flash")
    assert "above 0" in second.reason


def backend(name):
    from wattbench.attention import backend_named

    return backend_named(name)


def plant(monkeypatch, name, kernel):
    monkeypatch.setitem(vars(backend(name)), "kernel", kernel)


FAULTS = (
    ("raises", "it raised RuntimeError: planted"),
    ("nan", "its result holds NaN or infinity"),
    ("wrong", "its error against fp32 is 0.1"),
)


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_planted_faults(override, core, monkeypatch, fault, reason):
    from wattbench.attention.plan import AttentionRefusedError

    def faulty(q, k, v, mask, scale):
        if fault == "raises":
            raise RuntimeError("planted")
        out = core(q, k, v, 4, mask, **HND)
        return out * (float("nan") if fault == "nan" else 1.1)

    plant(monkeypatch, "split", faulty)
    q, k, v = make()
    mine = override("split")
    for _ in range(3):
        out, expected = call(mine, core, q, k, v, 4, skip_reshape=True)
        assert torch.allclose(out, expected, atol=1e-5)
    (calls,) = mine.read()
    assert (calls.executed, calls.call_count) == ("sdpa_flash", 3)
    assert calls.reason.startswith(reason)
    with pytest.raises(AttentionRefusedError, match="split cannot run"):
        call(override("split", strict=True), core, q, k, v, 4, skip_reshape=True)
    auto = override("auto")
    out, expected = call(auto, core, q, k, v, 4, skip_reshape=True)
    assert torch.allclose(out, expected, atol=1e-5)
    assert f"split refused: {reason}" in next(iter(auto.decisions.values()))


@pytest.mark.parametrize("fault", ["raises", "memory"])
def test_a_kernel_that_fails_later(override, core, monkeypatch, fault):
    error = torch.OutOfMemoryError if fault == "memory" else RuntimeError
    original, failing = backend("sdpa_math").kernel, []

    def sometimes(*tensors):
        if failing:
            raise error("planted")
        return original(*tensors)

    plant(monkeypatch, "sdpa_math", sometimes)
    q, k, v = make()
    mine = override("sdpa_math")
    call(mine, core, q, k, v, 4, skip_reshape=True)
    failing.append(True)
    for _ in range(2):
        out, expected = call(mine, core, q, k, v, 4, skip_reshape=True)
        assert torch.allclose(out, expected, atol=1e-5)
    before, after = mine.read()
    assert (before.executed, before.call_count) == ("sdpa_math", 1)
    substitute = {"memory": "sub_quadratic", "raises": "sdpa_flash"}[fault]
    assert (after.executed, after.call_count) == (substitute, 2)
    reason = {"memory": "memory is short", "raises": "it raised RuntimeError: planted"}[fault]
    assert after.reason == reason


def test_sdpa_is_no_substitute_where_it_would_need_too_much(override, core, monkeypatch):
    """Unfused on this card, with a score matrix beyond what is free."""
    from wattbench.attention import sdpa

    monkeypatch.setattr(sdpa, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(sdpa, "executed_variant", lambda *tensors: "sdpa_math")
    mine = override("sage_1")
    q, k, v = make()
    call(mine, core, q, k, v, 4, skip_reshape=True)
    (calls,) = mine.read()
    assert calls.executed == "sub_quadratic"
    assert calls.reason.endswith("and sdpa: its scores take 0.0 GiB, and 0.0 GiB are free")


def test_auto_where_there_is_no_room_for_trials(override, core, monkeypatch):
    """The copies that kernels are tried on take memory too."""
    from wattbench.attention import plan as attention_plan

    def full(*args):
        raise torch.OutOfMemoryError("planted")

    monkeypatch.setattr(attention_plan, "try_all", full)
    mine = override("auto")
    q, k, v = make()
    out, expected = call(mine, core, q, k, v, 4, skip_reshape=True)
    assert torch.allclose(out, expected, atol=1e-5)
    (calls,) = mine.read()
    assert calls.executed == "sdpa_flash"
    assert calls.reason == "memory is too short to try kernels"


def test_auto_where_sdpa_does_not_fit(override, core, monkeypatch):
    """As on a card without fused kernels: the best of the others, at once."""
    from wattbench.attention import sdpa

    monkeypatch.setattr(sdpa, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(sdpa, "executed_variant", lambda *tensors: "sdpa_math")
    plant(monkeypatch, "sdpa_flash", refuse)
    mine = override("auto")
    q, k, v = make()
    out, expected = call(mine, core, q, k, v, 4, skip_reshape=True)
    assert torch.allclose(out, expected, atol=1e-5)
    (calls,) = mine.read()
    assert calls.executed in ("sub_quadratic", "split")
    assert "sdpa_math refused: its scores take" in next(iter(mine.decisions.values()))


def test_the_host_pays_no_more_than_for_comfyuis_own_function(override, core):
    """In calls of Python and C functions, of which the time of a small call consists."""
    import comfy.ldm.modules.attention as attention

    q, k, v = make(has_heads=False)

    def calls_with(options):
        counted = []
        sys.setprofile(lambda frame, event, arg: counted.append(event))
        try:
            attention.attention_pytorch(q, k, v, heads=4, transformer_options=options)
        finally:
            sys.setprofile(None)
        return sum(event in ("call", "c_call") for event in counted)

    chosen = {"optimized_attention_override": override("sdpa")}
    assert calls_with(chosen) > calls_with({})  # the first call plans
    assert calls_with(chosen) <= calls_with({})


def test_a_genuine_error_is_not_hidden(override, core):
    q, k, v = make()
    mine = override("sdpa")
    with pytest.raises(RuntimeError):
        call(mine, core, q, k[..., :-1], v, 4, skip_reshape=True)


HND = {"skip_reshape": True, "skip_output_reshape": True}


def refuse(*tensors):
    raise RuntimeError("not on this card")


def test_auto_waits_until_it_knows_who_waits(comfyui, tmp_path, monkeypatch):
    """On a card whose queue is simulated: sdpa at first, then what the trials speak for."""
    import comfy.ldm.modules.attention as attention

    from wattbench.attention import plan
    from wattbench.attention.auto import Trial
    from wattbench.attention.choices import Choices
    from wattbench.attention.ledger import IdleWatch
    from wattbench.hosts.comfyui import attention as host
    from wattbench.offer import Machine

    class Event:
        def record(self):
            pass

        def query(self):
            return True

    monkeypatch.setattr(torch.cuda, "Event", Event)
    quick = [Trial("sdpa", 50e-6, 25e-6), Trial("sdpa_math", 50e-6, 15e-6)]
    slow_to_queue = [Trial("sdpa", 50e-6, 25e-6), Trial("sdpa_math", 20e-6, 70e-6)]
    for trials, chosen in ((quick, "sdpa_math"), (slow_to_queue, "sdpa_flash")):
        monkeypatch.setattr(plan, "try_all", lambda *args, trials=trials: trials)
        choices = Choices(tmp_path / f"{chosen}.json")
        machine = Machine("cuda", "Simulated", (8, 6))
        override = host.Override(plan.Setting("auto"), machine, choices)
        core = attention.attention_pytorch.__wrapped__
        q = torch.randn(1, 2, 8, 16, generator=torch.Generator().manual_seed(0))
        for _ in range(IdleWatch.SETTLING_CALLS + IdleWatch.CALLS + 12):
            override(core, q, q, q, 2, skip_reshape=True, _inside_attn_wrapper=True)
        counts = {c.executed: c.call_count for c in override.read()}
        if chosen == "sdpa_math":
            assert counts == {"sdpa_flash": 96, "sdpa_math": 12}
        else:
            assert counts == {"sdpa_flash": 108}
        (decision,) = override.decisions.values()
        assert decision.startswith(f"{chosen}, as measured, the GPU idle at 100% of the calls: ")
