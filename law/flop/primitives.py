"""The operations that image models are made of, each as the work it is: a multiply-add is 2 FLOPs.

Like torch's ``FlopCounterMode`` these count matrix products, convolutions and attention, and leave
out what is linear in the activations (norms, activations, softmax, rotary embeddings, sampling).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What a pass through a network asks of the hardware.

    FLOPs and weights of convolutions stand apart because a library may compute them in another
    precision (torch runs fp32 convolutions in TF32 by default, fp32 matrix products not).
    """

    matmul_flops: int = 0
    """Attention included."""
    conv_flops: int = 0
    matmul_weights: int = 0
    """Weight values that are read, once per operation that uses them; biases and norms left out."""
    conv_weights: int = 0
    activations: int = 0
    """Values that the operations read and write, weights apart."""
    operators: int = 0
    """Matrix products, convolutions and attentions: one for each weight matrix, fused or not."""
    attention_flops: int = 0
    """Those of ``matmul_flops`` that have no weights."""

    @property
    def flops(self) -> int:
        return self.matmul_flops + self.conv_flops

    @property
    def weights(self) -> int:
        return self.matmul_weights + self.conv_weights

    def __add__(self, other: Work) -> Work:
        return Work(
            self.matmul_flops + other.matmul_flops,
            self.conv_flops + other.conv_flops,
            self.matmul_weights + other.matmul_weights,
            self.conv_weights + other.conv_weights,
            self.activations + other.activations,
            self.operators + other.operators,
            self.attention_flops + other.attention_flops,
        )

    def __rmul__(self, times: int) -> Work:
        """The same pass ``times`` times, one after the other."""
        return Work(
            times * self.matmul_flops,
            times * self.conv_flops,
            times * self.matmul_weights,
            times * self.conv_weights,
            times * self.activations,
            times * self.operators,
            times * self.attention_flops,
        )

    def batched(self, size: int) -> Work:
        """One pass over ``size`` inputs at once: the weights are read and launched once."""
        return Work(
            matmul_flops=size * self.matmul_flops,
            conv_flops=size * self.conv_flops,
            matmul_weights=self.matmul_weights,
            conv_weights=self.conv_weights,
            activations=size * self.activations,
            operators=self.operators,
            attention_flops=size * self.attention_flops,
        )


def linear(rows: int, d_in: int, d_out: int) -> Work:
    """(rows, d_in) times (d_in, d_out)."""
    return Work(
        matmul_flops=2 * rows * d_in * d_out,
        matmul_weights=d_in * d_out,
        activations=rows * (d_in + d_out),
        operators=1,
    )


def conv2d(kernel: int, c_in: int, c_out: int, height: int, width: int) -> Work:
    """A square convolution; ``height`` and ``width`` are those of its output."""
    weights = kernel * kernel * c_in * c_out
    return Work(
        conv_flops=2 * height * width * weights,
        conv_weights=weights,
        activations=height * width * (c_in + c_out),
        operators=1,
    )


def attention(rows_q: int, rows_k: int, d_attn: int) -> Work:
    """QKᵀ and the product with V over all heads, ``d_attn`` = heads x head dimension.

    A causal mask saves nothing here: the kernels that image models call compute every pair, or are
    counted as if they did.
    """
    flops = 4 * rows_q * rows_k * d_attn
    return Work(
        matmul_flops=flops,
        activations=2 * (rows_q + rows_k) * d_attn,
        operators=1,
        attention_flops=flops,
    )
