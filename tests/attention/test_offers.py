"""Where a backend can compute, and why not elsewhere: cards, packages, and a first small call."""

import pytest
import torch

from wattbench.attention import BACKENDS, AttentionCall, backend_named, offers
from wattbench.offer import Machine

from .conftest import CARDS, CPU

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
