"""Blocks fit into the memory that is free, and any blocks give the same result."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from wattbench.attention import chunked
from wattbench.attention.base import Backend


class LiveBytes(TorchDispatchMode):
    """The most bytes that tensors made under it held at a time, those of ``inputs`` left out."""

    def __init__(self, *inputs):
        super().__init__()
        self.known = {x.untyped_storage()._cdata for x in inputs if x is not None}
        self.made = WeakIdKeyDictionary()
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if torch.is_tensor(tensor):
                self.made[tensor] = tensor.untyped_storage()
        held = {s._cdata: s.nbytes() for s in self.made.values() if s._cdata not in self.known}
        self.peak = max(self.peak, sum(held.values()))
        return out


@pytest.mark.parametrize(("rows", "keys"), [(70, 45), (7, 45), (70, 11), (7, 11), (1, 1)])
def test_blocks_do_not_change_the_result(rows, keys, tensors, reference, distance):
    q, k, v = tensors()
    mask = torch.randn(1, 1, 70, 45, generator=torch.Generator().manual_seed(1))
    for bias in (None, mask, mask > 0):
        out = chunked.in_chunks(q, k, v, bias, None, rows, keys)
        assert distance(out, reference(q, k, v, bias)) < 1e-6


def test_a_row_without_keys_gives_zeros_as_in_torch(tensors):
    q, k, v = tensors()
    mask = torch.ones(1, 1, 70, 45, dtype=torch.bool)
    mask[..., 3, :] = False
    out = chunked.in_chunks(q, k, v, mask, None, 16, 16)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)
    assert torch.equal(out[:, :, 3], torch.zeros_like(out[:, :, 3]))
    assert torch.allclose(out, expected, atol=1e-6)


@given(
    batch_heads=st.integers(1, 200),
    q_len=st.integers(1, 100_000),
    kv_len=st.integers(1, 100_000),
    free=st.integers(2**20, 2**38),
)
def test_blocks_fit_into_their_share(batch_heads, q_len, kv_len, free):
    rows, keys = chunked.chunk_sizes(batch_heads, q_len, kv_len, free)
    assert 1 <= rows <= q_len
    assert 1 <= keys <= kv_len
    used = rows * keys * batch_heads * chunked.BYTES_PER_SCORE
    smallest_row = batch_heads * chunked.BYTES_PER_SCORE * (int((kv_len - 1) ** 0.5) + 2)
    assert used <= max(min(chunked.MOST_BYTES, free * chunked.SHARE), smallest_row)
    if keys < kv_len:
        assert rows <= chunked.LEAST_ROWS


@pytest.mark.parametrize("name", ["sub_quadratic", "split"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_peak_follows_the_free_memory(name, masked, tensors, reference, distance, monkeypatch):
    """Free memory is set; the result and the inputs come on top, as they do for any kernel."""
    backend: Backend = next(b for b in chunked.BACKENDS if b.name == name)
    q, k, v = tensors(heads=8, q_len=1024, kv_len=1024)
    mask = torch.ones(1, 1, 1024, 1024, dtype=torch.bool).tril() if masked else None
    whole = 2 * 8 * 1024 * 1024 * 4
    free = 32 * 2**20
    monkeypatch.setattr(chunked, "free_bytes", lambda device: free)
    monkeypatch.setattr(chunked, "UNASKED_BYTES", 0)
    with LiveBytes(q, k, v, mask) as live:
        out = backend(q, k, v, mask)
    assert out.nbytes < live.peak < out.nbytes + 1.5 * free * chunked.SHARE
    assert live.peak < whole / 3
    assert distance(out, reference(q, k, v, mask)) < 1e-6


def test_free_memory_of_this_machine(monkeypatch):
    import psutil

    memory = psutil.virtual_memory()._replace(total=8000, available=1000, free=10)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert chunked.free_bytes(torch.device("cpu")) == 1000


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_free_memory_of_a_simulated_card(kind, monkeypatch):
    """The card's own, not the computer's, with what torch's allocator holds unused."""
    card = getattr(torch, kind)
    monkeypatch.setattr(card, "mem_get_info", lambda device: (1000, 8000), raising=False)
    monkeypatch.setattr(card, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(card, "memory_allocated", lambda device: 300)
    assert chunked.free_bytes(torch.device(kind)) == 1200
