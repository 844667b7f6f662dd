"""Tensors, a reference in fp64, and stand-ins for the packages that need a GPU."""

import sys
from pathlib import Path

import pytest
import torch

from wattbench.offer import Machine

PACKAGES = Path(__file__).resolve().parents[1] / "data" / "attention_packages"
MODULES = ("sageattention", "sageattn3", "flash_attn", "flash_attn_interface", "xformers")
CPU = Machine("cpu", "cpu")
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


@pytest.fixture(autouse=True)
def inference_mode():
    with torch.inference_mode():
        yield


@pytest.fixture
def tensors():
    """A function that makes q, k and v in the layout HND, the same for the same arguments."""

    def make(heads=4, kv_heads=None, q_len=70, kv_len=45, head_dim=64, dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)
        shapes = ((heads, q_len), (kv_heads or heads, kv_len), (kv_heads or heads, kv_len))
        return [torch.randn(2, h, n, head_dim, generator=generator).to(dtype) for h, n in shapes]

    return make


@pytest.fixture
def reference():
    """Attention by its definition, in fp64."""

    def attend(q, k, v, mask=None, scale=None):
        q, k, v = (x.double() for x in (q, k, v))
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        scores = q @ k.transpose(2, 3) * (q.shape[3] ** -0.5 if scale is None else scale)
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, float("-inf"))
        elif mask is not None:
            scores = scores + mask.double()
        return torch.softmax(scores, -1) @ v

    return attend


@pytest.fixture
def distance():
    """Relative RMS error of a result."""
    return lambda out, reference: float((out.double() - reference).norm() / reference.norm())


@pytest.fixture
def with_package(monkeypatch):
    """A function that puts a stand-in where Python finds packages, alone of its kind."""

    def put(name):
        for module in [m for m in sys.modules if m.split(".")[0] in MODULES]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.syspath_prepend(str(PACKAGES / name))

    yield put
    for module in [m for m in sys.modules if m.split(".")[0] in MODULES]:
        del sys.modules[module]
