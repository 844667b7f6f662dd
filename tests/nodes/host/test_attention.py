"""The attention override in the real ComfyUI: what runs, what is counted, and what falls back."""

import sys

import pytest
import torch

SAMPLING = {"steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
ON_CPU = ("sdpa", "sdpa_flash", "sdpa_math", "sub_quadratic", "split")
ARCHITECTURES = ("sdxl", "z_image_turbo", "sd15", "flux", "sd35", "qwen_image")
TOLERANCE = 1e-3
"""Of the latent in fp32, over two steps: kernels add in another order."""


@pytest.fixture
def choose(comfyui, tmp_path):
    """A function that gives a MODEL an attention choice."""
    from wattbench.attention.choices import Choices
    from wattbench.nodes.host.attention import choose_attention
    from wattbench.nodes.host.attention_plan import Setting

    memory = Choices(tmp_path / "attention.json")
    return lambda model, requested, **setting: choose_attention(
        model, Setting(requested, **setting), memory
    )


@pytest.fixture(scope="session")
def jobs(comfyui, tiny_models):
    """What KSampler takes for a tiny model of an architecture, encoded once."""
    encoded = {}

    def job(architecture, batch=1):
        if architecture not in encoded:
            encode = comfyui.CLIPTextEncode().encode
            clip = tiny_models(architecture).clip
            with torch.inference_mode():
                encoded[architecture] = encode(clip, "a moth")[0], encode(clip, "")[0]
        positive, negative = encoded[architecture]
        (latent,) = comfyui.EmptyLatentImage().generate(64, 64, batch)
        return {"positive": positive, "negative": negative, "latent_image": latent}

    return job


@pytest.fixture
def sample(comfyui, jobs):
    def run(model, architecture="sdxl", batch=1):
        (latent,) = comfyui.KSampler().sample(model, 3, **SAMPLING, **jobs(architecture, batch))
        return latent["samples"]

    return run


@pytest.fixture(scope="session")
def references(comfyui, tiny_models, jobs):
    """The latent that ComfyUI makes by itself, once for each architecture."""
    made = {}

    def reference(architecture):
        if architecture not in made:
            model = tiny_models(architecture).model
            with torch.inference_mode():
                (latent,) = comfyui.KSampler().sample(model, 3, **SAMPLING, **jobs(architecture))
            made[architecture] = latent["samples"]
        return made[architecture]

    return reference


def distance(latent, reference):
    return float((latent - reference).norm() / reference.norm())


@pytest.fixture
def counted(comfyui, monkeypatch):
    """Calls of ComfyUI's own attention wrapper, counted outside of the pack."""
    import comfy.ldm.modules.attention as attention

    calls = []

    def counting(override):
        def count(function, *args, **kwargs):
            calls.append(function)
            return override(function, *args, **kwargs)

        return count

    def watch(model):
        options = model.model_options["transformer_options"]
        options["optimized_attention_override"] = counting(options["optimized_attention_override"])
        return calls

    assert attention.REGISTERED_ATTENTION_FUNCTIONS
    return watch


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("backend", ON_CPU)
def test_the_picture_stays_and_every_call_is_counted(
    backend, architecture, tiny_models, choose, sample, references, counted
):
    from wattbench.nodes.host.ledgers import ledgers_of

    model = choose(tiny_models(architecture).model, backend, strict=True)
    calls = counted(model)
    assert distance(sample(model, architecture), references(architecture)) < TOLERANCE
    ledger = ledgers_of(model).read()
    assert sum(entry.call_count for entry in ledger) == len(calls) > 0
    assert {entry.requested for entry in ledger} == {backend}
    expected = "sdpa_flash" if backend == "sdpa" else backend
    assert {entry.executed for entry in ledger} == {expected}
    assert not any(entry.reason for entry in ledger)


def test_a_batch_with_a_lora(tiny_models, choose, sample):
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


@pytest.fixture
def ledger_of(comfyui):
    from wattbench.nodes.host.ledgers import ledgers_of

    return lambda model: ledgers_of(model).read()


def with_override(model, override):
    clone = model.clone()
    clone.model_options["transformer_options"]["optimized_attention_override"] = override
    return clone


def test_another_nodes_override_is_called_first(tiny_models, choose, sample, references, ledger_of):
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


def test_a_later_override_may_hand_on(tiny_models, choose, sample, references, ledger_of, counted):
    model = choose(tiny_models().model, "split")
    calls = counted(model)
    assert distance(sample(model), references("sdxl")) < TOLERANCE
    assert sum(entry.call_count for entry in ledger_of(model)) == len(calls)


def test_a_model_that_is_never_asked_is_said_to_be_uncovered(tiny_models, choose, sample):
    model = with_override(
        choose(tiny_models().model, "sage_2"), lambda function, *args, **kw: function(*args, **kw)
    )
    sample(model)
    from wattbench.nodes.host.ledgers import ledgers_of

    (calls,) = ledgers_of(model).read()
    assert (calls.requested, calls.executed, calls.call_count) == ("sage_2", "none", 0)
    assert "no attention call" in calls.reason


@pytest.mark.parametrize("name", ["comfyui", "comfyui:sub_quad", "comfyui:split"])
def test_comfyuis_own_functions(name, tiny_models, choose, sample, references, ledger_of):
    model = choose(tiny_models().model, name)
    assert distance(sample(model), references("sdxl")) < TOLERANCE
    (calls,) = ledger_of(model)
    assert calls.executed == {"comfyui": "comfyui:sub_quad"}.get(name, name)
    assert not calls.reason


def test_what_is_not_here_falls_back_or_stops(tiny_models, choose, sample, references, ledger_of):
    from wattbench.nodes.host.attention_plan import AttentionRefusedError

    for name, why in (("sage_2", "it needs compute capability"), ("comfyui:sage", "registered")):
        model = choose(tiny_models().model, name)
        assert distance(sample(model), references("sdxl")) < TOLERANCE
        (calls,) = ledger_of(model)
        assert (calls.requested, calls.executed) == (name, "sdpa_flash")
        assert why in calls.reason
        with pytest.raises(AttentionRefusedError, match=f"{name} cannot run the attention call"):
            sample(choose(tiny_models().model, name, strict=True))


def test_auto_chooses_counts_and_remembers(
    tiny_models, choose, sample, references, ledger_of, tmp_path, caplog
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


class TestCalls:
    """Calls as models make them, given to the override without a model."""

    @pytest.fixture
    def override(self, comfyui, tmp_path):
        from wattbench.attention.choices import Choices
        from wattbench.nodes.host.attention import Override
        from wattbench.nodes.host.attention_plan import Setting
        from wattbench.offer import Machine

        def make(requested, **setting):
            machine = Machine("cpu", "cpu")
            return Override(Setting(requested, **setting), machine, Choices(tmp_path / "a.json"))

        return make

    @pytest.fixture
    def core(self, comfyui):
        import comfy.ldm.modules.attention as attention

        return attention.attention_pytorch.__wrapped__

    def call(self, override, core, *args, **kwargs):
        kwargs["_inside_attn_wrapper"] = True
        return override(core, *args, **kwargs), core(*args, **kwargs)

    def make(self, heads=4, kv_heads=4, has_heads=True, dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)
        sizes = ((heads, 50), (kv_heads, 30), (kv_heads, 30))
        tensors = [torch.randn(2, h, n, 16, generator=generator).to(dtype) for h, n in sizes]
        return tensors if has_heads else [x.transpose(1, 2).flatten(2) for x in tensors]

    @pytest.mark.parametrize("name", [*ON_CPU, "auto"])
    @pytest.mark.parametrize("has_heads", [True, False])
    @pytest.mark.parametrize("keeps_heads", [True, False])
    @pytest.mark.parametrize("kv_heads", [4, 2])
    @pytest.mark.parametrize("mask_shape", [None, (50, 30), (2, 50, 30), (2, 4, 50, 30), (1, 30)])
    def test_layouts(self, override, core, name, has_heads, keeps_heads, kv_heads, mask_shape):
        q, k, v = self.make(kv_heads=kv_heads, has_heads=has_heads)
        mask = None
        if mask_shape:
            mask = torch.randn(mask_shape, generator=torch.Generator().manual_seed(1))
        options = {"skip_reshape": has_heads, "skip_output_reshape": keeps_heads}
        if kv_heads == 2:
            options["enable_gqa"] = True
        mine = override(name, strict=True)
        out, expected = self.call(mine, core, q, k, v, 4, mask, **options)
        assert out.shape == expected.shape
        assert torch.allclose(out, expected, atol=1e-5)
        assert sum(c.call_count for c in mine.read()) == 1

    def test_scale_and_unknown_arguments(self, override, core):
        q, k, v = self.make()
        mine = override("split")
        out, expected = self.call(mine, core, q, k, v, 4, skip_reshape=True, scale=0.3)
        assert torch.allclose(out, expected, atol=1e-5)
        self.call(mine, core, q, k, v, 4, skip_reshape=True, window=3)
        known, unknown = mine.read()
        assert (known.executed, unknown.executed) == ("split", "comfyui:pytorch")
        assert unknown.reason == "it has the argument window"

    def test_a_model_may_ask_for_fp32(self, override, core):
        """As SD 2 does: scores beyond the range of fp16."""
        q, k, v = (x * 300 for x in self.make(dtype=torch.float16))
        mine = override("sub_quadratic")
        out, _ = self.call(mine, core, q, k, v / 300, 4, None, torch.float32, skip_reshape=True)
        assert out.dtype == torch.float16
        assert torch.isfinite(out).all()
        assert [c.executed for c in mine.read()] == ["sub_quadratic"]

    def test_a_model_may_refuse_low_precision(self, override, core, monkeypatch):
        self.plant(monkeypatch, "split", lambda q, k, v, m, s: core(q, k, v, 4, m, **HND) * 1.01)
        monkeypatch.setitem(vars(self.backend("split")), "is_exact", False)
        q, k, v = self.make()
        mine = override("split")
        self.call(mine, core, q, k, v, 4, skip_reshape=True)
        self.call(mine, core, q, k, v, 4, skip_reshape=True, low_precision_attention=False)
        first, second = mine.read()
        assert (first.executed, second.executed) == ("split", "sdpa_flash")
        assert "above 0" in second.reason

    def backend(self, name):
        from wattbench.attention import backend_named

        return backend_named(name)

    def plant(self, monkeypatch, name, kernel):
        monkeypatch.setitem(vars(self.backend(name)), "kernel", kernel)

    FAULTS = (
        ("raises", "it raised RuntimeError: planted"),
        ("nan", "its result holds NaN or infinity"),
        ("wrong", "its error against fp32 is 0.1"),
    )

    @pytest.mark.parametrize(("fault", "reason"), FAULTS)
    def test_planted_faults(self, override, core, monkeypatch, fault, reason):
        from wattbench.nodes.host.attention_plan import AttentionRefusedError

        def faulty(q, k, v, mask, scale):
            if fault == "raises":
                raise RuntimeError("planted")
            out = core(q, k, v, 4, mask, **HND)
            return out * (float("nan") if fault == "nan" else 1.1)

        self.plant(monkeypatch, "split", faulty)
        q, k, v = self.make()
        mine = override("split")
        for _ in range(3):
            out, expected = self.call(mine, core, q, k, v, 4, skip_reshape=True)
            assert torch.allclose(out, expected, atol=1e-5)
        (calls,) = mine.read()
        assert (calls.executed, calls.call_count) == ("sdpa_flash", 3)
        assert calls.reason.startswith(reason)
        with pytest.raises(AttentionRefusedError, match="split cannot run"):
            self.call(override("split", strict=True), core, q, k, v, 4, skip_reshape=True)
        auto = override("auto")
        out, expected = self.call(auto, core, q, k, v, 4, skip_reshape=True)
        assert torch.allclose(out, expected, atol=1e-5)
        assert f"split refused: {reason}" in next(iter(auto.decisions.values()))

    @pytest.mark.parametrize("fault", ["raises", "memory"])
    def test_a_kernel_that_fails_later(self, override, core, monkeypatch, fault):
        error = torch.OutOfMemoryError if fault == "memory" else RuntimeError
        original, failing = self.backend("sdpa_math").kernel, []

        def sometimes(*tensors):
            if failing:
                raise error("planted")
            return original(*tensors)

        self.plant(monkeypatch, "sdpa_math", sometimes)
        q, k, v = self.make()
        mine = override("sdpa_math")
        self.call(mine, core, q, k, v, 4, skip_reshape=True)
        failing.append(True)
        for _ in range(2):
            out, expected = self.call(mine, core, q, k, v, 4, skip_reshape=True)
            assert torch.allclose(out, expected, atol=1e-5)
        before, after = mine.read()
        assert (before.executed, before.call_count) == ("sdpa_math", 1)
        substitute = {"memory": "sub_quadratic", "raises": "sdpa_flash"}[fault]
        assert (after.executed, after.call_count) == (substitute, 2)
        reason = {"memory": "memory is short", "raises": "it raised RuntimeError: planted"}[fault]
        assert after.reason == reason

    def test_sdpa_is_no_substitute_where_it_would_need_too_much(self, override, core, monkeypatch):
        """Unfused on this card, with a score matrix beyond what is free."""
        from wattbench.attention import sdpa

        monkeypatch.setattr(sdpa, "free_bytes", lambda device: 1000)
        monkeypatch.setattr(sdpa, "executed_variant", lambda *tensors: "sdpa_math")
        mine = override("sage_1")
        q, k, v = self.make()
        self.call(mine, core, q, k, v, 4, skip_reshape=True)
        (calls,) = mine.read()
        assert calls.executed == "sub_quadratic"
        assert calls.reason.endswith("and sdpa: its scores take 0.0 GiB, and 0.0 GiB are free")

    def test_auto_where_sdpa_does_not_fit(self, override, core, monkeypatch):
        """As on a card without fused kernels: the best of the others, at once."""
        from wattbench.attention import sdpa

        monkeypatch.setattr(sdpa, "free_bytes", lambda device: 1000)
        monkeypatch.setattr(sdpa, "executed_variant", lambda *tensors: "sdpa_math")
        self.plant(monkeypatch, "sdpa_flash", refuse)
        mine = override("auto")
        q, k, v = self.make()
        out, expected = self.call(mine, core, q, k, v, 4, skip_reshape=True)
        assert torch.allclose(out, expected, atol=1e-5)
        (calls,) = mine.read()
        assert calls.executed in ("sub_quadratic", "split")
        assert "sdpa_math refused: its scores take" in next(iter(mine.decisions.values()))

    def test_the_host_pays_no_more_than_for_comfyuis_own_function(self, override, core):
        """In calls of Python and C functions, of which the time of a small call consists."""
        import comfy.ldm.modules.attention as attention

        q, k, v = self.make(has_heads=False)

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

    def test_a_genuine_error_is_not_hidden(self, override, core):
        q, k, v = self.make()
        mine = override("sdpa")
        with pytest.raises(RuntimeError):
            self.call(mine, core, q, k[..., :-1], v, 4, skip_reshape=True)


HND = {"skip_reshape": True, "skip_output_reshape": True}


def refuse(*tensors):
    raise RuntimeError("not on this card")


def test_auto_waits_until_it_knows_who_waits(comfyui, tmp_path, monkeypatch):
    """On a card whose queue is simulated: sdpa at first, then what the trials speak for."""
    import comfy.ldm.modules.attention as attention

    from wattbench.attention.auto import Trial
    from wattbench.attention.choices import Choices
    from wattbench.attention.ledger import IdleWatch
    from wattbench.nodes.host import attention as host
    from wattbench.nodes.host import attention_plan as plan
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
        q = torch.randn(1, 2, 8, 16)
        for _ in range(IdleWatch.SETTLING_CALLS + IdleWatch.CALLS + 12):
            override(core, q, q, q, 2, skip_reshape=True, _inside_attn_wrapper=True)
        counts = {c.executed: c.call_count for c in override.read()}
        if chosen == "sdpa_math":
            assert counts == {"sdpa_flash": 96, "sdpa_math": 12}
        else:
            assert counts == {"sdpa_flash": 108}
        (decision,) = override.decisions.values()
        assert decision.startswith(f"{chosen}, as measured, the GPU idle at 100% of the calls: ")
