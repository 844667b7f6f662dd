"""Every backend computes attention, or says why it cannot."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from wattbench.attention import BACKENDS, AttentionCall, backend_named, offers
from wattbench.attention.sdpa import executed_variant, sdpa
from wattbench.offer import Machine

CPU = Machine("cpu", "cpu")
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


CARDS = {
    "Pascal": Machine("cuda", "GTX 1080", (6, 1)),
    "Turing": Machine("cuda", "RTX 2080", (7, 5)),
    "Ampere": Machine("cuda", "RTX 3090", (8, 6)),
    "Ada": Machine("cuda", "RTX 4090", (8, 9)),
    "Hopper": Machine("cuda", "H200", (9, 0)),
    "Blackwell": Machine("cuda", "RTX 5090", (12, 0)),
    "Vega 20": Machine("cuda", "Radeon Pro VII", None, "gfx906"),
    "MI300": Machine("cuda", "MI300X", None, "gfx942"),
    "RDNA3": Machine("cuda", "RX 7900", None, "gfx1100"),
}
ANYWHERE = {"sdpa", "sdpa_math", "sub_quadratic", "split"}
FUSED = {"sdpa_flash", "sdpa_efficient"}
KITCHEN = {"kitchen_int8", "kitchen_sol"}
PACKAGES = {"flash_attention_2", "flash_attention_4", "xformers"}
NVIDIA = ANYWHERE | FUSED | {"sdpa_cudnn"} | PACKAGES | KITCHEN


@pytest.mark.parametrize(
    ("card", "admitted"),
    [
        ("Pascal", ANYWHERE | {"sdpa_efficient", "xformers"}),
        ("Turing", ANYWHERE | {"sdpa_efficient", "xformers", "kitchen_int8"}),
        ("Ampere", NVIDIA | {"sage_1", "sage_2"}),
        ("Ada", NVIDIA | {"sage_1", "sage_2"}),
        ("Hopper", NVIDIA | {"sage_1", "sage_2", "flash_attention_3"}),
        ("Blackwell", NVIDIA | {"sage_2", "sage_3"}),
        ("Vega 20", ANYWHERE),
        ("MI300", ANYWHERE | FUSED | {"flash_attention_2", "xformers"}),
        ("RDNA3", ANYWHERE | FUSED | KITCHEN),
    ],
)
def test_cards_and_their_kernels(card, admitted):
    """As the packages document it; whether a package is installed is left aside."""
    machine = CARDS[card]
    fitting = {b.name for b in BACKENDS if any(t.admits(machine) for t in b.targets)}
    assert fitting == admitted


def test_every_refusal_has_a_reason_and_a_remedy():
    for machine in (CPU, *CARDS.values()):
        for offer in offers(machine):
            assert offer.available != bool(offer.reason), offer
            assert bool(offer.remedy) == bool(offer.reason), offer
            assert "nunchaku" not in offer.remedy  # the index has another project of this name


@pytest.mark.parametrize(
    ("name", "package", "change", "reason"),
    [
        ("sage_2", "sage2", {"dtype": torch.float32}, "float16 or bfloat16, not float32"),
        ("sage_1", "sage1", {"head_dim": 80}, "head_dim of 64 or 96 or 128, not 80"),
        ("sage_2", "sage2", {"head_dim": 160}, "head_dim up to 128, not 160"),
        ("sdpa_cudnn", "flash2", {"head_dim": 42}, "multiples of 8 as head_dim, not 42"),
        ("sage_2", "sage1", {}, "sageattention 1.0.6 is older than 2"),
        ("sage_1", "sage2", {}, "sageattention 2.2.0 is not older than 2"),
    ],
)
def test_reasons_name_what_is_wrong(name, package, change, reason, tensors, with_package):
    with_package(package)
    q, k, _ = tensors(**{"kv_len": 128, "dtype": torch.float16, **change})
    call = AttentionCall.of(CARDS["Ampere"], q, k)
    assert reason in backend_named(name).supports(call)


def test_before_ampere_there_is_no_bfloat16(tensors, with_package):
    """Models that compute in it run torch's unfused kernel there, or one in blocks."""
    with_package("xformers")
    q, k, _ = tensors(dtype=torch.bfloat16)
    call = AttentionCall.of(CARDS["Turing"], q, k)
    for name in ("sdpa_efficient", "xformers"):
        assert backend_named(name).supports(call) == "it takes float32 or float16, not bfloat16"
        assert backend_named(name).supports(AttentionCall.of(CARDS["Turing"], q.half(), k)) == ""


def test_a_radeon_card_is_told_how_to_have_flash_attention(monkeypatch, with_package):
    with_package("flash2")
    switch = "FLASH_ATTENTION_TRITON_AMD_ENABLE"
    monkeypatch.delenv(switch, raising=False)
    offer = backend_named("flash_attention_2").offer(CARDS["RDNA3"])
    assert f"gfx103, gfx11, gfx12 with {switch}=TRUE" in offer.reason
    assert "compute capability" not in offer.reason
    monkeypatch.setenv(switch, "TRUE")
    assert backend_named("flash_attention_2").offer(CARDS["RDNA3"]).available
    assert not backend_named("flash_attention_2").offer(CARDS["Vega 20"]).available


def test_a_refusal_names_what_the_maker_has():
    def needs(name, machine):
        reason = backend_named(name).offer(machine).reason
        return reason.removeprefix("it needs ").split("; this device is ")[0]

    assert needs("sage_2", CARDS["RDNA3"]) == "an NVIDIA card"
    assert (
        needs("sage_2", CARDS["Pascal"]) == "compute capability 8.0, 8.6, 8.9 to 9.0, 12.0 to 12.1"
    )
    assert needs("flash_attention_2", CARDS["Pascal"]) == "compute capability 8.0 or later"
    assert needs("sdpa_flash", CARDS["Pascal"]) == "a cpu; compute capability 8.0 or later"
    assert needs("sdpa_flash", Machine("mps", "mps")) == "a cpu; an NVIDIA or AMD card"


def test_releases_of_sageattention_with_other_arguments_are_refused(with_package, monkeypatch):
    with_package("sage1")
    monkeypatch.setattr("wattbench.attention.base.installed_version", lambda name: "1.0.4")
    offer = backend_named("sage_1").offer(CARDS["Ampere"])
    assert offer.reason == "sageattention 1.0.4 is older than 1.0.5"
    assert offer.remedy.startswith("pip install sageattention==1.0.6")


def test_a_package_that_does_not_load_says_so(with_package, tmp_path, monkeypatch):
    """As one does that was compiled for another torch."""
    with_package("xformers")
    offer = backend_named("xformers").offer(CARDS["Ampere"])
    assert offer.available
    from xformers.ops import FwOp

    monkeypatch.setattr(FwOp, "is_available", lambda: False)
    offer = backend_named("xformers").offer(CARDS["Ampere"])
    assert offer.reason.startswith("the package xformers has no kernels")
    assert offer.remedy == "pip install xformers, in the version made for your torch"
    (tmp_path / "flash_attn_interface.py").write_text("raise ImportError('undefined symbol: _Z')")
    monkeypatch.syspath_prepend(str(tmp_path))
    offer = backend_named("flash_attention_3").offer(CARDS["Hopper"])
    assert offer.reason == "the package flash_attn_interface does not load: undefined symbol: _Z"
    (tmp_path / "sageattn3.py").write_text("import triton_of_another_age as t", "utf-8")
    (tmp_path / "triton_of_another_age.py").write_text("import os; os.no_such_function", "utf-8")
    offer = backend_named("sage_3").offer(CARDS["Blackwell"])
    assert "does not load: module 'os' has no attribute 'no_such_function'" in offer.reason


@pytest.fixture
def xformers_here(with_package):
    """The back end, as if it could compute on this machine's processor."""
    from dataclasses import replace

    from wattbench.attention import packages
    from wattbench.attention.base import ANYWHERE as ANY_DEVICE

    packages._call_fault.cache_clear()
    with_package("xformers")
    yield replace(backend_named("xformers"), targets=(ANY_DEVICE,))
    packages._call_fault.cache_clear()


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (lambda q: q, ""),
        (lambda q: q * float("nan"), "a small call gives NaN or infinity"),
        (NotImplementedError("No operator found"), "a small call fails: it raised Not"),
        (torch.OutOfMemoryError("CUDA out of memory"), ""),
    ],
)
def test_a_package_whose_every_call_fails_is_not_available(
    result, reason, xformers_here, monkeypatch, tensors
):
    """It loads and says that it has kernels; only a call tells. One call, not one for each ask."""
    import xformers.ops

    calls = []

    def attend(q, *args, **options):
        calls.append(q.shape)
        if isinstance(result, Exception):
            raise result
        return result(q)

    monkeypatch.setattr(xformers.ops, "memory_efficient_attention", attend)
    machine = Machine("cpu", "cpu")
    offers = [xformers_here.offer(machine) for _ in range(2)]
    assert all(offer.reason.startswith(reason) for offer in offers)
    assert offers[0].available is (reason == "")
    q, k, _ = tensors()
    refusal = xformers_here.supports(AttentionCall.of(machine, q, k))
    assert refusal.startswith(reason)
    assert (refusal == "") is offers[0].available
    is_short = isinstance(result, torch.OutOfMemoryError)
    assert len(calls) == (3 if is_short else 1), "a lack of memory is no answer"


def test_a_card_that_is_not_here_is_not_called(xformers_here, monkeypatch):
    import xformers.ops

    monkeypatch.setattr(xformers.ops, "memory_efficient_attention", None)
    assert xformers_here.offer(CARDS["Ampere"]).available


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'sdp'; choose one of sdpa, sdpa_flash"):
        backend_named("sdp")


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
