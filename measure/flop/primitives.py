"""FLOPs of the operations that image models are made of: a multiply-add is 2.

Like torch's ``FlopCounterMode`` these count matrix products, convolutions and attention, and leave
out what is linear in the activations (norms, activations, softmax, rotary embeddings, sampling).
"""

from __future__ import annotations


def linear(rows: int, d_in: int, d_out: int) -> int:
    """(rows, d_in) times (d_in, d_out)."""
    return 2 * rows * d_in * d_out


def conv2d(kernel: int, c_in: int, c_out: int, height: int, width: int) -> int:
    """A square convolution; ``height`` and ``width`` are those of its output."""
    return 2 * height * width * kernel * kernel * c_in * c_out


def attention(rows_q: int, rows_k: int, d_attn: int) -> int:
    """QKᵀ and the product with V over all heads, ``d_attn`` = heads x head dimension.

    A causal mask saves nothing here: the kernels that image models call compute every pair, or are
    counted as if they did.
    """
    return 4 * rows_q * rows_k * d_attn
