"""Attention in compiled graphs: what becomes of a call, and that each is counted.

Graphs are traced as for any back end and run by torch's ``eager`` one, but for one that the real
compiler compiles.
"""

from functools import partial

import pytest
import torch

OVERRIDE = "optimized_attention_override"
GIVEN = (None, "", "attention_basic", 2, None)
"""Mask, choice, function, heads and precision."""


@pytest.fixture
def operator(comfyui):
    from wattbench.hosts.comfyui.attention_op import AttentionOperator

    return AttentionOperator()


@pytest.fixture
def choice(comfyui, tmp_path):
    """A function that makes this pack's override."""
    from wattbench.attention.choices import Choices
    from wattbench.hosts.comfyui.attention import Override, Setting
    from wattbench.offer import Machine

    def make(requested, previous=None, **setting):
        memory = Choices(tmp_path / "attention.json")
        return Override(Setting(requested, **setting), Machine("cpu", "cpu"), memory, previous)

    return make


@pytest.fixture
def compiled(operator):
    """A function that compiles another, and lists for each graph how many operators were left."""

    def compile_it(function, **options):
        left = []
        whole = getattr(torch.ops.wattbench, operator.name).default

        def backend(graph, inputs):
            sites = operator.resolve(graph)
            left.append(len(graph.graph.find_nodes(op="call_function", target=whole)))
            return partial(operator.run, sites, graph.forward)

        return torch.compile(function, fullgraph=True, backend=backend, **options), left

    yield compile_it
    torch._dynamo.reset()  # the tests compile one function, for which torch has a limit


def attend(q, k, mask, options):
    """Two calls of ComfyUI's PyTorch attention: plain, and masked with heads and a scale."""
    import comfy.ldm.modules.attention as core

    out = core.attention_pytorch(q * 2, k, k, 2, transformer_options=options)
    heads = q.view(1, -1, 2, 8).transpose(1, 2)
    layout = {"skip_reshape": True, "skip_output_reshape": True, "scale": 0.3}
    rows = core.attention_pytorch(
        heads, heads, heads, 2, mask, transformer_options=options, **layout
    )
    return out + 1, rows + 1


def tensors(length=6):
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn((1, n, 16), generator=generator) for n in (length, 9))
    return q, k, torch.randn((length, length), generator=generator)


@pytest.fixture
def check(operator, compiled):
    """Plan eagerly, compile, run three times; answers what was left in the graphs, and counts."""

    def run(override, **options):
        function, left = compiled(attend, **options)
        inputs = tensors()
        expected = attend(*inputs, {})
        operator.begin({OVERRIDE: override})
        attend(*inputs, {OVERRIDE: operator})
        override.clear()
        for _ in range(3):
            operator.begin({OVERRIDE: override})
            for result, value in zip(
                function(*inputs, {OVERRIDE: operator}), expected, strict=True
            ):
                assert torch.allclose(result, value, atol=1e-6)
        return left, {calls.executed: calls.call_count for calls in override.read()}

    return run


@pytest.mark.parametrize("name", ["sdpa", "sdpa_flash", "sdpa_math"])
def test_torchs_own_attention_is_left_to_the_compiler(name, choice, check):
    assert check(choice(name)) == ([0], {"sdpa_flash" if name == "sdpa" else name: 6})


def test_auto_is_part_of_the_graph_too(choice, check, monkeypatch):
    from wattbench.attention import plan as attention_plan

    admitted = [b for b in attention_plan.BACKENDS if b.name.startswith("sdpa")]
    monkeypatch.setattr(attention_plan, "BACKENDS", admitted)
    left, counts = check(choice("auto"))
    assert left == [0]
    assert sum(counts.values()) == 6


def with_core(q, k, mask, options):
    """This pack's attention, and core's as it is on a CUDA card."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], set_priority=True):
        core = torch.nn.functional.scaled_dot_product_attention(q, k, k)
    return core, *attend(q, k, mask, options)


@pytest.fixture
def compilation(operator, choice, monkeypatch):
    """A compilation whose attention is planned for ``with_core``."""
    from wattbench.hosts.comfyui import compile as compiling

    made = compiling._Compilation("default", dynamic=None)
    monkeypatch.setattr(made, "_attention", operator)
    operator.begin({OVERRIDE: choice("sdpa_flash")})
    with_core(*tensors(), {OVERRIDE: operator})
    yield made
    torch._dynamo.reset()


def test_a_graph_is_one_that_torch_keeps_on_disk(compilation, operator, monkeypatch):
    """By torch's own rule. Else every start of ComfyUI traces and lowers the whole model anew."""
    from torch._functorch._aot_autograd.autograd_cache import check_cacheable
    from torch._inductor import config

    kept = []

    def compiler(graph, inputs, config_patches):
        with config.patch(config_patches):
            check_cacheable(graph)
        kept.append(graph)
        return graph.forward

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: compiler)
    compiled = torch.compile(with_core, fullgraph=True, backend=compilation.compile_graph)
    compiled(*tensors(), {OVERRIDE: operator})
    assert len(kept) == 1


@pytest.mark.soak("a compiler of C++ runs for half a minute")
def test_torch_finds_it_there_again(compilation, operator):
    from torch._dynamo.utils import counters
    from torch._inductor.utils import fresh_cache

    inputs = tensors()
    expected = with_core(*inputs, {OVERRIDE: operator})
    with fresh_cache(), torch.inference_mode():
        for found in ("miss", "hit"):
            torch._dynamo.reset()
            counters.clear()
            compiled = torch.compile(with_core, fullgraph=True, backend=compilation.compile_graph)
            for result, value in zip(
                compiled(*inputs, {OVERRIDE: operator}), expected, strict=True
            ):
                assert torch.allclose(result, value, atol=1e-5)
            cached = counters["aot_autograd"]
            assert (cached[f"autograd_cache_{found}"], cached["autograd_cache_bypass"]) == (1, 0)


@pytest.fixture
def plant(monkeypatch):
    """A function that makes ``split`` a kernel that graphs record, and another one if given."""
    from wattbench.attention import backend_named
    from wattbench.attention.base import InGraphs

    fields = vars(backend_named("split"))
    monkeypatch.setitem(fields, "in_graphs", InGraphs.RECORDED)
    original = fields["kernel"]

    def change(kernel):
        monkeypatch.setitem(fields, "kernel", lambda *tensors: kernel(original, *tensors))

    return change


def test_a_kernel_that_can_be_recorded_is_an_operator_of_its_own(operator, choice, check, plant):
    """It was checked and ran in the evaluation before; in the graph it is only launched."""
    launches = []

    def counted(kernel, *tensors):
        launches.append(tensors)
        return kernel(*tensors)

    plant(counted)
    assert check(choice("split")) == ([0], {"split": 6})
    assert len(launches) == 2 * (1 + 1 + 3)
    recorded = getattr(torch.ops.wattbench, f"{operator.name}_recorded").default
    assert torch.Tag.cudagraph_unsafe not in recorded.tags


def test_a_replay_is_counted_as_what_was_recorded(operator, choice, check, plant):
    """A CUDA graph's replay runs no Python."""
    override = choice("split")
    check(override)
    override.clear()
    assert operator.run(range(2), lambda number: number, 7) == 7
    assert [(c.executed, c.call_count) for c in override.read()] == [("split", 2)]


def raising(kernel, *tensors):
    raise RuntimeError("planted")


FAULTS = {
    "raises": (raising, "it raised RuntimeError: planted"),
    "nan": (lambda kernel, *tensors: kernel(*tensors) * float("nan"), "its result holds NaN"),
    "wrong": (lambda kernel, *tensors: kernel(*tensors) * 1.1, "its error against fp32 is 0.1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_kernel_does_not_enter_a_graph(fault, choice, check, plant):
    """It is seen in the evaluation before, and the graph holds what takes its place."""
    kernel, reason = FAULTS[fault]
    plant(kernel)
    override = choice("split")
    assert check(override) == ([0], {"sdpa_flash": 6})
    assert all(calls.reason.startswith(reason) for calls in override.read())


@pytest.fixture
def failing_later(plant):
    """A list; while it is not empty, the recorded kernel fails, and takes one off."""
    failures = []

    def sometimes(kernel, *tensors):
        if failures:
            raise failures.pop()
        return kernel(*tensors)

    plant(sometimes)
    return failures


@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError])
def test_a_kernel_that_fails_inside_a_graph_is_replaced(
    error, operator, choice, check, compiled, failing_later
):
    override = choice("split")
    check(override)
    override.clear()
    function, _ = compiled(attend)
    inputs = tensors()
    expected = attend(*inputs, {})
    function(*inputs, {OVERRIDE: operator})
    failing_later.append(error("planted"))
    for _ in range(2):
        results = function(*inputs, {OVERRIDE: operator})
        for result, value in zip(results, expected, strict=True):
            assert torch.allclose(result, value, atol=1e-6)
    own, other = override.read()
    assert (own.executed, own.call_count, own.reason) == ("split", 4, "")
    assert other.call_count == 2
    assert (other.executed, other.reason) == (
        ("sdpa_flash", "it raised RuntimeError: planted")
        if error is RuntimeError
        else ("sub_quadratic", "memory is short")
    )
    operator.run(range(2, 4), tuple)
    assert [c.call_count for c in override.read()] == [5, 3]


def test_strict_stops_where_a_kernel_fails_inside_a_graph(
    operator, choice, check, compiled, failing_later
):
    from wattbench.attention.plan import AttentionRefusedError

    override = choice("split", strict=True)
    check(override)
    function, _ = compiled(attend)
    inputs = tensors()
    function(*inputs, {OVERRIDE: operator})
    failing_later.append(RuntimeError("planted"))
    with pytest.raises(AttentionRefusedError, match=r"split cannot run .* it raised RuntimeError"):
        function(*inputs, {OVERRIDE: operator})


@pytest.mark.parametrize(
    ("name", "options"),
    [("sub_quadratic", {}), ("sdpa", {"timed": True}), ("comfyui:split", {})],
    ids=["by memory", "timed", "comfyui"],
)
def test_other_calls_run_their_python(name, options, choice, check):
    executed = "sdpa_flash" if name == "sdpa" else name
    assert check(choice(name, **options)) == ([2], {executed: 6})


def test_so_do_calls_that_another_nodes_override_comes_before(choice, check):
    seen = []

    def other(function, *args, **kwargs):
        seen.append(function)
        return function(*args, **kwargs)

    assert check(choice("sdpa", previous=other)) == ([2], {"sdpa_flash": 6})
    assert len(seen) == 8


def test_so_do_calls_of_sizes_that_are_not_fixed(choice, check):
    assert check(choice("sdpa"), dynamic=True) == ([2], {"sdpa_flash": 6})


def test_two_choices_of_one_model_have_graphs_of_their_own(operator, choice, compiled):
    function, left = compiled(attend)
    inputs = tensors()
    choices = [choice("sdpa"), choice("sdpa_math")]
    for override in choices:
        operator.begin({OVERRIDE: override})
        attend(*inputs, {OVERRIDE: operator})
        override.clear()
    for override in choices * 2:
        operator.begin({OVERRIDE: override})
        function(*inputs, {OVERRIDE: operator})
    assert left == [0, 0]
    counts = [[(c.executed, c.call_count) for c in override.read()] for override in choices]
    assert counts == [[("sdpa_flash", 4)], [("sdpa_math", 4)]]


def test_another_nodes_override_is_called_by_compiled_code(operator):
    """Through AOTAutograd, as for the real compiler: in one graph, and at each call."""
    calls = []

    def override(function, *args, **kwargs):
        calls.append(function)
        return function(*args, **kwargs)

    operator.begin({OVERRIDE: override})
    inputs = tensors()
    expected = attend(*inputs, {OVERRIDE: operator})
    assert len(calls) == 2
    compiled = torch.compile(attend, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        for result, value in zip(compiled(*inputs, {OVERRIDE: operator}), expected, strict=True):
            assert torch.allclose(result, value, atol=1e-6)
    assert len(calls) == 6


@pytest.mark.parametrize("has_heads", [False, True])
@pytest.mark.parametrize("keeps_heads", [False, True])
def test_the_operators_promises_hold(operator, has_heads, keeps_heads):
    """torch's own check: schema, no aliasing, and shapes and strides as promised."""
    begin_with = {operator.operator: (), operator.recorded: (0,)}
    shape = (2, 2, 6, 8) if has_heads else (2, 6, 16)
    q = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    given = (*GIVEN, has_heads, keeps_heads, False, True, None)
    with torch.inference_mode(False):
        checks = ("test_schema", "test_faketensor")
        for each, site in begin_with.items():
            call = (*site, q.clone(), q.clone(), q.clone(), *given)
            torch.library.opcheck(each, call, test_utils=checks)


def test_a_call_of_another_kind_is_left_alone(operator):
    """A third node's own function, and an argument that is not known."""

    def third_party(q, k, v, heads, **kw):
        return q + len(kw)

    q = torch.zeros((1, 6, 16))
    assert torch.equal(operator(third_party, q, q, q, 2), q)
    assert torch.equal(operator(third_party, q, q, q, 2, unknown=1), q + 1)
