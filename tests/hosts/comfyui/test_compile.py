"""torch.compile for one clone: one graph, honest counts, and an original that is untouched.

The models are traced as for any back end and run by torch's ``eager`` one, because the C++ of a
whole model takes a CPU minutes. A small function goes through the real compiler in
test_attention_op.py.
"""

import logging

import pytest
import torch

from wattbench.records import KernelCalls

SAMPLING = {"cfg": 5.0, "sampler_name": "euler", "scheduler": "simple"}


@pytest.fixture(scope="module")
def compiling(comfyui):
    from wattbench.hosts.comfyui import compile as compiling

    patch = pytest.MonkeyPatch()
    patch.setattr(compiling, "BACKEND", "eager")
    yield compiling
    patch.undo()


@pytest.fixture(scope="module")
def sd35(comfyui, tiny_models):
    """The model, and a function that samples it or a clone of it."""
    with torch.inference_mode():
        models = tiny_models("sd35")
        encode = comfyui.CLIPTextEncode().encode
        texts = [encode(models.clip, text)[0] for text in ("a moth", "")]

    def sample(model, seed=5, steps=2, size=64):
        latent = {"samples": torch.zeros((1, 16, size // 8, size // 8))}
        (result,) = comfyui.KSampler().sample(
            model,
            seed,
            steps,
            positive=texts[0],
            negative=texts[1],
            latent_image=latent,
            **SAMPLING,
        )
        return result["samples"]

    return models.model, sample


@pytest.fixture(scope="module")
def compiled(compiling, sd35):
    return compiling.compile_model(sd35[0])


class CountedOverride:
    """Another node's override and ledger: hands every call on, and counts them."""

    node_id = ""

    def __init__(self):
        self.calls = 0

    def __call__(self, func, *args, **kwargs):
        self.calls += 1
        return func(*args, **kwargs)

    def clear(self):
        self.calls = 0

    def read(self):
        return [KernelCalls("attention", "counted", "counted", self.calls)]


def with_override(model, override):
    clone = model.clone()
    clone.model_options["transformer_options"]["optimized_attention_override"] = override
    return clone


def graphs():
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())


def test_the_whole_model_is_one_graph_and_the_original_untouched(sd35, compiling, caplog):
    model, sample = sd35
    caplog.set_level(logging.INFO)
    before = sample(model)
    count, breaks = graphs()
    assert torch.equal(sample(compiling.compile_model(model)), before)
    assert graphs() == (count + 1, breaks)
    assert "1 graphs with 0 graph breaks" in caplog.text
    assert torch.equal(sample(model), before)
    assert graphs() == (count + 1, breaks)
    assert type(model.model.diffusion_model).__name__ == "OpenAISignatureMMDITWrapper"


def test_nothing_is_compiled_while_a_known_size_is_sampled(sd35, compiled, caplog):
    _, sample = sd35
    sample(compiled)
    count = graphs()
    sample(compiled, seed=6, steps=3)
    sample(compiled.clone(), seed=7)
    assert graphs() == count
    assert "compiled anew" not in caplog.text


def test_compilation_is_in_no_phase(sd35, compiling, compiled):
    """A probe, set before the model was compiled, sees the steps and not the evaluations before.

    Its clock is the count of graphs: time passes when one is compiled.
    """
    from wattbench.hosts.comfyui.sampling import observe_sampling
    from wattbench.measure.recording.timeline import Timeline
    from wattbench.measure.recording.window import Window

    class GraphCount(Timeline):
        def mark(self):
            return graphs()[0]

        start = stop = mark

        def seconds(self, mark):
            return mark

    model, sample = sd35
    window = Window(GraphCount())
    probed = observe_sampling(model, lambda facts, seed: window)
    sample(compiling.compile_model(probed), size=96)
    phases = {span.name: span for span in window.spans}
    assert phases["denoise"].nfe == 2
    assert len(phases["denoise"].step_ends_s) == 2
    assert window.start_s < phases["denoise"].start_s == phases["denoise"].end_s


def test_every_attention_call_is_counted(sd35, compiled):
    model, sample = sd35
    plain, inside = CountedOverride(), CountedOverride()
    expected = sample(with_override(model, plain))
    sample(compiled)
    count = graphs()
    clone = with_override(compiled, inside)
    assert torch.equal(sample(clone), expected)
    assert inside.calls == plain.calls > 0
    assert graphs() == count


def test_the_ledger_leaves_out_what_was_dropped(sd35, compiling):
    """The evaluations that compile come before the sampling; its ledger starts after them."""
    from wattbench.hosts.comfyui.ledgers import attach_ledger

    model, sample = sd35
    plain, inside = CountedOverride(), CountedOverride()
    sample(with_override(model, plain))
    compiled = with_override(compiling.compile_model(model), inside)
    attach_ledger(compiled, "attention", inside)
    sample(compiled)
    assert inside.calls == plain.calls


def test_the_packs_own_attention_is_compiled(sd35, compiled, tmp_path, caplog):
    """Chosen behind the node, for a size that is known: compiled before the sampling, counted."""
    from wattbench.attention.choices import Choices
    from wattbench.hosts.comfyui.attention import Setting, choose_attention, override_of

    model, sample = sd35
    sample(compiled)
    memory = Choices(tmp_path / "choices.json")
    for name in ("sub_quadratic", "sdpa_math"):
        plain = choose_attention(model, Setting(name), memory)
        expected = sample(plain)
        chosen = choose_attention(compiled, Setting(name), memory)
        for _ in range(2):
            override_of(chosen).clear()
            result = sample(chosen)
            assert (result - expected).norm() / expected.norm() < 1e-5
            assert override_of(chosen).read() == override_of(plain).read()
    assert "compiled anew" not in caplog.text


def test_a_kernel_that_fails_in_the_middle_of_a_compiled_sampling(
    sd35, compiled, tmp_path, monkeypatch, caplog
):
    """The picture is finished with another kernel, and both are counted."""
    from wattbench.attention import backend_named
    from wattbench.attention.base import InGraphs
    from wattbench.attention.choices import Choices
    from wattbench.hosts.comfyui.attention import Setting, choose_attention, override_of

    _, sample = sd35
    fields = vars(backend_named("split"))
    kernel, calls = fields["kernel"], []

    def failing(*tensors):
        calls.append(tensors)
        if len(calls) == fails_at:
            raise RuntimeError("planted")
        return kernel(*tensors)

    fails_at = 0
    monkeypatch.setitem(fields, "in_graphs", InGraphs.RECORDED)
    monkeypatch.setitem(fields, "kernel", failing)
    chosen = choose_attention(compiled, Setting("split"), Choices(tmp_path / "choices.json"))
    expected = sample(chosen)
    (planned,) = override_of(chosen).read()
    override_of(chosen).clear()
    fails_at = len(calls) + 1
    result = sample(chosen)
    assert (result - expected).norm() / expected.norm() < 1e-5
    counts = {c.executed: (c.call_count, c.reason) for c in override_of(chosen).read()}
    assert counts["sdpa_flash"][1] == "it raised RuntimeError: planted"
    assert sum(n for n, _ in counts.values()) == planned.call_count
    assert "compiled anew" not in caplog.text


def test_weight_patches_take_effect(sd35, compiled):
    model, sample = sd35
    name = "diffusion_model.final_layer.linear.weight"
    patch = {name: (torch.full_like(model.model_state_dict()[name], 0.05),)}
    patched, both = model.clone(), compiled.clone()
    for clone in (patched, both):
        assert clone.add_patches(patch, 1.0)
    expected = sample(patched)
    assert torch.allclose(sample(both), expected, atol=1e-5)
    assert not torch.allclose(sample(model), expected, atol=1e-3)


def test_compiling_in_the_middle_of_a_sampling_is_told(sd35, compiling, compiled, caplog):
    """A node behind the check of shapes makes the model's input smaller."""
    from comfy.patcher_extension import WrappersMP

    _, sample = sd35

    def narrow(executor, x, *args, **kw):
        half = executor(x[..., :4], *args, **kw)
        return torch.cat((half, half), -1)

    sample(compiled)
    assert "compiled anew" not in caplog.text
    narrowed = compiled.clone()
    narrowed.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "narrow", narrow)
    sample(narrowed)
    assert "compiled anew while it sampled" in caplog.text


def test_conditions_differ_by_it(compiling, sd35):
    from wattbench.hosts.comfyui.identity import optimizations_of

    model, _ = sd35
    assert optimizations_of(model) == ()
    assert optimizations_of(compiling.compile_model(model)) == ("compile",)
    other = compiling.compile_model(model, "max-autotune-no-cudagraphs", dynamic=True)
    assert optimizations_of(other) == ("compile max-autotune-no-cudagraphs dynamic",)
    again = compiling.compile_model(other, "default", dynamic=False)
    assert optimizations_of(again) == ("compile default static",)


def test_no_compiler_is_a_refusal_with_a_remedy(compiling, sd35, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    offer = compiling.compile_offer(torch.device("cpu"))
    assert (offer.available, offer.reason) == (False, "no C++ compiler was found")
    with pytest.raises(ValueError, match=r"cannot compile: no C\+\+ compiler was found\. Install"):
        compiling.compile_model(sd35[0])


@pytest.mark.parametrize(
    ("capability", "triton", "path", "reason"),
    [
        ((8, 6), True, True, ""),
        ((6, 1), True, True, "the card is older than compute capability 7.0"),
        ((8, 6), False, True, "Triton is not installed"),
        ((8, 6), True, False, "Triton needs a C compiler"),
    ],
)
def test_what_a_gpu_needs(compiling, monkeypatch, capability, triton, path, reason):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    monkeypatch.setattr("torch.utils._triton.has_triton_package", lambda: triton)
    monkeypatch.delenv("CC", raising=False)
    if not path:
        monkeypatch.setenv("PATH", "/nowhere")
    offer = compiling.compile_offer(torch.device("cuda"))
    assert (offer.available, offer.reason) == (not reason, reason)
    assert bool(offer.remedy) == bool(reason)


def test_an_old_torch_is_a_refusal(compiling, monkeypatch):
    monkeypatch.delattr("torch.compiler.set_stance")
    offer = compiling.compile_offer(torch.device("cpu"))
    assert offer.reason == f"torch {torch.__version__} is too old for it"


def test_an_unknown_mode_is_refused(compiling, sd35):
    with pytest.raises(ValueError, match="unknown mode 'fast'; choose one of reduce-overhead"):
        compiling.compile_model(sd35[0], "fast")


@pytest.mark.parametrize(
    ("allocator", "mode", "is_available"),
    [
        ("cudaMallocAsync", "reduce-overhead", False),
        ("cudaMallocAsync", "max-autotune", False),
        ("cudaMallocAsync", "default", True),
        ("cudaMallocAsync", "max-autotune-no-cudagraphs", True),
        ("native", "reduce-overhead", True),
    ],
)
def test_graphs_need_torchs_own_allocator(compiling, monkeypatch, allocator, mode, is_available):
    monkeypatch.setattr(compiling, "_refusal", lambda device: ("", ""))
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: allocator)
    offer = compiling.compile_offer(torch.device("cuda"), mode)
    assert offer.available == is_available
    assert ("--disable-cuda-malloc" in offer.remedy) != is_available
