"""Random weights that keep activations at a natural scale.

The rules, by a weight's name and shape:

- A matrix or kernel has variance ``gain**2 / fan_in``, so that an input of unit variance gives an
  output of variance ``gain**2`` (LeCun et al., Efficient BackProp, 1998, section 4.6).
- The last weight of a residual branch has a gain of 0.3, so that a deep stack of branches grows
  slowly (the idea of Zhang et al., Fixup, arXiv 1901.09321).
- A norm's scale is 1, a bias or a running mean is 0, an embedding has unit variance.

Numbers are drawn once, as one block of normal numbers on the CPU, from a generator of their own;
each weight is that block, scaled, repeated from an offset of its own. The block's length is prime,
so rows of a matrix do not repeat. That fills gigabytes at the speed of memory, and one seed gives
the same weights on every device.
"""

from __future__ import annotations

import math
import re

import torch

from .architecture import Gains, Weights

BLOCK_LENGTH = 4_194_301
"""The largest prime below 2**22."""

RESIDUAL_GAIN = 0.3

_EMBEDDING = re.compile(
    r"(token_embedding|position_embedding|embed_tokens|shared|relative_attention_bias)\.weight$"
    r"|pos_embed$|pad_token$"
)
_NORM_SCALE = re.compile(r"\.gamma$")

COMMON_GAINS: Gains = (
    # CLIP, T5, Qwen
    (
        r"(out_proj|fc2|o_proj|down_proj|SelfAttention\.o|DenseReluDense\.wo)\.weight$",
        RESIDUAL_GAIN,
    ),
    # VAE: the residual branches, then the picture, whose values reach from -1 to 1
    (r"(mid\.block_\d|block\.\d+)\.conv2\.weight$", RESIDUAL_GAIN),
    (r"(mid\.attn_1\.proj_out|residual\.6|middle\.1\.proj)\.weight$", RESIDUAL_GAIN),
    (r"^decoder\.(conv_out|head\.2)\.weight$", 0.6),
)


def blank_tensors(module: torch.nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Names, shapes and dtypes of what a checkpoint of ``module`` holds, sorted by name.

    ComfyUI creates linear layers without weights where it loads them lazily; these are listed too.
    Left out is what a module sets itself: scalars and integer buffers.
    """
    blanks = {
        name: (tensor.shape, tensor.dtype)
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point() and tensor.ndim > 0
    }
    for prefix, part in module.named_modules():
        if isinstance(part, torch.nn.Linear) and part.weight is None:
            dtype = part.weight_comfy_model_dtype or torch.get_default_dtype()
            shape = torch.Size((part.out_features, part.in_features))
            blanks[f"{prefix}.weight"] = (shape, dtype)
            if part.comfy_need_lazy_init_bias:
                blanks[f"{prefix}.bias"] = (shape[:1], dtype)
    return dict(sorted(blanks.items()))


def count_parameters(module: torch.nn.Module) -> int:
    """Numbers that a checkpoint of ``module`` holds; ``module`` may be on the meta device."""
    return sum(shape.numel() for shape, _ in blank_tensors(module).values())


def size_bytes(module: torch.nn.Module) -> int:
    """Memory of these numbers, in bytes."""
    return sum(shape.numel() * dtype.itemsize for shape, dtype in blank_tensors(module).values())


def standard_deviation(name: str, shape: torch.Size, gains: Gains) -> float:
    """Standard deviation of the matrix, kernel or embedding ``name``."""
    if _EMBEDDING.search(name):
        return 1.0
    gain = next((gain for pattern, gain in gains if re.search(pattern, name)), 1.0)
    return gain / math.sqrt(math.prod(shape[1:]))


class RandomWeights:
    """A source of random weights; one per build, so that one seed gives one set of weights."""

    def __init__(self, seed: int):
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._block = torch.randn(BLOCK_LENGTH, generator=self._generator)
        self._scaled = torch.empty_like(self._block)

    def draw(
        self,
        module: torch.nn.Module,
        gains: Gains = (),
        device: torch.device | str = "cpu",
    ) -> Weights:
        """Weights for every blank of ``module``, on ``device``; ``module`` itself stays as it is.

        One tensor is made after the other, so the peak of memory is the weights themselves.
        """
        gains = (*gains, *COMMON_GAINS)
        weights = {}
        for name, (shape, dtype) in blank_tensors(module).items():
            if name.endswith(("bias", "running_mean")) and len(shape) == 1:
                tensor = torch.zeros(shape, dtype=dtype)
            elif len(shape) == 1 or _NORM_SCALE.search(name):
                tensor = torch.ones(shape, dtype=dtype)
            else:
                tensor = self._normal(shape, dtype, standard_deviation(name, shape, gains))
            weights[name] = tensor.to(device)
        return weights

    def _normal(self, shape: torch.Size, dtype: torch.dtype, stdev: float) -> torch.Tensor:
        tensor = torch.empty(shape, dtype=dtype)
        flat = tensor.view(-1)
        start = int(torch.randint(BLOCK_LENGTH, (), generator=self._generator))
        filled = 0
        while filled < flat.numel():
            piece = self._block[start : start + flat.numel() - filled]
            scaled = torch.mul(piece, stdev, out=self._scaled[: piece.numel()])
            flat[filled : filled + piece.numel()].copy_(scaled)
            filled += piece.numel()
            start = 0
        return tensor
