"""Every backend computes attention, or says why it cannot."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from wattbench.attention import BACKENDS, AttentionCall, backend_named
from wattbench.attention.sdpa import executed_variant, sdpa
from wattbench.offer import Machine

from .conftest import CARDS, CPU

BOUNDS = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
HERE = [backend.name for backend in BACKENDS if backend.offer(CPU).available]
PACKAGED = {
    "flash_attention_2": "flash2",
    "flash_attention_3": "flash3",
    "flash_attention_4": "flash4",
    "sage_1": "sage1",
    "sage_2": "sage2",
    "sage_3": "sage3",
    "xformers": "xformers",
}
"""Backends whose adapters run on stand-ins for their packages."""


def test_what_a_cpu_can_run():
    assert HERE == ["sdpa", "sdpa_flash", "sdpa_math", "sub_quadratic", "split"]


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("kv_heads", [4, 2], ids=["mha", "gqa"])
@pytest.mark.parametrize("masked", ["", "bool", "bias"])
@pytest.mark.parametrize("name", HERE)
def test_parity_with_the_definition(
    name, masked, kv_heads, dtype, tensors, reference, distance, mask_of
):
    q, k, v = tensors(kv_heads=kv_heads, dtype=dtype)
    mask = mask_of(masked, q, k)
    backend = backend_named(name)
    assert backend.supports(AttentionCall.of(CPU, q, k, mask)) == ""
    out = backend(q, k, v, mask)
    assert (out.shape, out.dtype) == (q.shape, dtype)
    assert distance(out, reference(q, k, v, mask)) < BOUNDS[dtype]


@pytest.mark.parametrize("name", HERE)
def test_a_scale_of_its_own(name, tensors, reference, distance):
    q, k, v = tensors()
    out = backend_named(name)(q, k, v, None, 0.3)
    assert distance(out, reference(q, k, v, scale=0.3)) < 1e-6


@pytest.fixture
def mask_of():
    def make(kind, q, k):
        generator = torch.Generator().manual_seed(1)
        size = (1, 1, q.shape[2], k.shape[2])
        if kind == "bool":
            return torch.rand(size, generator=generator) > 0.3
        return torch.randn(size, generator=generator).to(q.dtype) if kind else None

    return make


@pytest.mark.parametrize("kv_heads", [4, 2], ids=["mha", "gqa"])
@pytest.mark.parametrize("name", PACKAGED)
def test_adapters_call_their_packages_rightly(
    name, kv_heads, tensors, reference, distance, with_package
):
    """Against stand-ins with the real signatures: layout, heads, scale, and no change of inputs."""
    with_package(PACKAGED[name])
    q, k, v = tensors(kv_heads=kv_heads, kv_len=128, dtype=torch.float16)
    before = [x.clone() for x in (q, k, v)]
    scale = None if name == "sage_3" else 0.2
    out = backend_named(name)(q, k, v, None, scale)
    assert out.shape == q.shape
    assert distance(out, reference(q, k, v, scale=scale)) < 5e-3
    assert all(torch.equal(x, y) for x, y in zip((q, k, v), before, strict=True))


@pytest.mark.parametrize("masked", ["bool", "bias"])
def test_xformers_gets_an_aligned_bias(masked, tensors, reference, distance, with_package, mask_of):
    with_package("xformers")
    q, k, v = tensors(dtype=torch.float16)
    mask = mask_of(masked, q, k)
    out = backend_named("xformers")(q, k, v, mask)
    assert distance(out, reference(q, k, v, mask)) < 5e-3


@pytest.mark.parametrize("name", [name for name in PACKAGED if name != "xformers"])
def test_no_adapter_drops_a_mask(name, tensors, with_package, mask_of):
    with_package(PACKAGED[name])
    q, k, v = tensors(kv_len=128, dtype=torch.float16)
    with pytest.raises(ValueError, match="takes no mask"):
        backend_named(name)(q, k, v, mask_of("bool", q, k))


@pytest.fixture
def kitchen(monkeypatch):
    """comfy-kitchen with the attention of 0.2.40, computed by torch."""
    import comfy_kitchen

    def int8_attention(q, k, v, *, scale=None, attn_mask=None):
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask, scale=scale, enable_gqa=True
        )

    def sol_attn(
        q, k, v, tau=1.0, scale=None, sink_blocks=None, sink_q=None, key_bias=None, topk_ratio=0.0
    ):
        hnd = (x.transpose(1, 2) for x in (q, k, v))
        out = torch.nn.functional.scaled_dot_product_attention(*hnd, scale=scale)
        return out.transpose(1, 2)

    for function in (int8_attention, sol_attn):
        monkeypatch.setattr(comfy_kitchen, function.__name__, function, raising=False)
        name = f"{function.__name__}_is_available"
        monkeypatch.setattr(comfy_kitchen, name, lambda device=None: True, raising=False)
    return comfy_kitchen


@pytest.mark.parametrize("kv_heads", [4, 2], ids=["mha", "gqa"])
@pytest.mark.parametrize("name", ["kitchen_int8", "kitchen_sol"])
def test_kitchens_attention_is_called_rightly(
    name, kv_heads, kitchen, tensors, reference, distance, mask_of
):
    q, k, v = tensors(kv_heads=kv_heads, q_len=64, kv_len=64, head_dim=128, dtype=torch.float16)
    backend = backend_named(name)
    assert backend.supports(AttentionCall.of(CARDS["Ampere"], q, k)) == ""
    assert distance(backend(q, k, v, None, 0.2), reference(q, k, v, scale=0.2)) < 5e-3
    mask = mask_of("bias", q, k)
    if name == "kitchen_int8":
        assert distance(backend(q, k, v, mask), reference(q, k, v, mask)) < 5e-3
        return
    with pytest.raises(ValueError, match="takes no mask"):
        backend(q, k, v, mask)
    with pytest.raises(ValueError, match="equally many"):
        backend(q, k[:, :, :32], v[:, :, :32])


def test_an_older_kitchen_says_what_it_lacks(kitchen, monkeypatch):
    monkeypatch.delattr(kitchen, "int8_attention")
    offer = backend_named("kitchen_int8").offer(CARDS["Ampere"])
    assert offer.reason == "the installed comfy_kitchen has no int8_attention"
    assert offer.remedy.startswith("pip install --upgrade comfy-kitchen")
    monkeypatch.setattr(kitchen, "sol_attn_is_available", lambda: False)
    offer = backend_named("kitchen_sol").offer(CARDS["Ampere"])
    assert offer.reason.endswith("has no kernels of sol_attn for this card")


def test_flash_attention_2_and_4_share_a_folder_and_are_told_apart(with_package):
    with_package("flash4")
    assert backend_named("flash_attention_4").offer(CARDS["Hopper"]).available
    assert not backend_named("flash_attention_2").offer(CARDS["Hopper"]).available
    with_package("flash2")
    assert backend_named("flash_attention_2").offer(CARDS["Hopper"]).available


def test_sage_1_is_refused_where_missing_keys_would_count(
    tensors, reference, distance, with_package
):
    """77 keys, as SDXL's cross-attention has: release 1.0.6 counts 51 that are not there."""
    with_package("sage1")
    card = Machine("cuda", "Simulated", (8, 6))
    backend = backend_named("sage_1")
    q, k, v = tensors(kv_len=77, dtype=torch.float16)
    assert distance(backend(q, k, v), reference(q, k, v)) > 0.2
    assert "counts the 51 that 77 lack" in backend.supports(AttentionCall.of(card, q, k))
    for keys, admitted in ((128, True), (4128, True), (1000, False)):
        q, k, v = tensors(heads=1, q_len=8, kv_len=keys, dtype=torch.float16)
        assert (backend.supports(AttentionCall.of(card, q, k)) == "") == admitted, keys
    q, k, v = tensors(heads=1, q_len=8, kv_len=4128, dtype=torch.float16)
    assert distance(backend(q, k, v), reference(q, k, v)) < 0.01


class Operators(TorchDispatchMode):
    """The names of the operators that torch dispatched under it."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_torch_runs_the_variant_that_was_said(tensors):
    """``executed_variant`` asks torch's chooser; the dispatcher says what really ran.

    In inference mode the dispatcher sees sdpa as a whole.
    """
    with torch.inference_mode(False):
        q, k, v = tensors()
    expected = {"sdpa_flash": "_scaled_dot_product_flash_attention", "sdpa_math": "bmm"}
    for inputs in ((q, k, v, None, None), (q, k, v[..., ::2], None, None)):
        with torch.inference_mode(False), Operators() as dispatched:
            sdpa(*inputs)
        operator = expected.pop(executed_variant(*inputs))
        assert any(operator in name for name in dispatched.names)
    assert not expected


def test_a_device_without_a_chooser_still_runs(tensors):
    """As MPS is: torch's chooser has no kernel there, and none for quantized tensors either."""
    quantized = [torch.quantize_per_tensor(x, 0.1, 0, torch.quint8) for x in tensors()]
    with pytest.raises(NotImplementedError):
        torch._fused_sdp_choice(*quantized)
    assert executed_variant(*quantized) == "sdpa"


def test_grouped_heads_are_repeated_where_no_fused_kernel_takes_them(
    tensors, reference, distance, monkeypatch
):
    """As CUDA's memory-efficient kernel, to which a mask leaves the call on most cards."""
    q, k, v = tensors(kv_heads=2)
    choose, given = torch._fused_sdp_choice, []

    def chooser(q, k, v, *args, **kwargs):
        return 0 if k.shape[1] != q.shape[1] else choose(q, k, v, *args, **kwargs)

    def attend(q, k, v, *args, attend=torch.nn.functional.scaled_dot_product_attention, **kwargs):
        given.append(k.shape[1])
        return attend(q, k, v, *args, **kwargs)

    monkeypatch.setattr(torch, "_fused_sdp_choice", chooser)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    assert distance(sdpa(q, k, v), reference(q, k, v)) < 1e-6
    assert given == [4]
    assert executed_variant(q, k, v) == "sdpa_flash"


@pytest.mark.parametrize("masked", [None, 1, 5])
def test_many_sequences_are_taken_in_parts(masked, monkeypatch):
    """As a video model's attention over time has; one call of so many fails on NVIDIA cards."""
    from wattbench.attention import sdpa as module

    random = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 5, 2, 6, 8, generator=random)
    mask = None if masked is None else torch.rand(masked, 1, 6, 6, generator=random) > 0.3
    expected, taken = sdpa(q, k, v, mask), []

    def attend(q, *args, attend=torch.nn.functional.scaled_dot_product_attention, **kwargs):
        taken.append(q.shape[0])
        return attend(q, *args, **kwargs)

    monkeypatch.setattr(module, "MOST_BATCH", 2)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    assert torch.allclose(sdpa(q, k, v, mask), expected, atol=1e-6)
    assert taken == [2, 2, 1]


def test_switching_variants_off_leaves_no_trace(tensors):
    from torch.backends import cuda

    cuda.enable_mem_efficient_sdp(False)
    try:
        backend_named("sdpa_math")(*tensors())
        assert not cuda.mem_efficient_sdp_enabled()
        assert cuda.flash_sdp_enabled()
    finally:
        cuda.enable_mem_efficient_sdp(True)
