"""torch's scaled_dot_product_attention: as torch picks, or one of its variants.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import BEFORE_AMPERE, FLOATS, HALF, Backend, InGraphs, Target, repeat_kv
from .chunked import free_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Tensors

VARIANTS = ("math", "flash", "efficient", "cudnn")
"""The values of ``torch.nn.attention.SDPBackend``, in their order."""

NONE, UNFUSED, OWN = -1, 0, len(VARIANTS)
"""What torch's chooser returns besides the fused ones: nothing that is switched on can run it, the
first of ``VARIANTS`` does, or a kernel of the device's own."""

MOST_BATCH = 2**15
"""Sequences of one call. Video models may have more, which fail on NVIDIA cards; ComfyUI divides at
the same number."""

UNFUSED_BYTES_PER_SCORE = 9
"""What the unfused variant held at its highest on an H200, inputs and result included."""

AOTRITON = ("gfx90a", "gfx94", "gfx95", "gfx110", "gfx115", "gfx120")
"""AMD's targets for which torch has fused kernels (the AOTriton library)."""


def sdpa(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """As torch picks: the first of its variants that can run the call, in torch's own order.

    Where only the unfused variant takes keys and values of fewer heads, they are repeated.
    """
    import torch

    batch = q.shape[0]
    if batch > MOST_BATCH:
        out = torch.empty_like(q)
        for start in range(0, batch, MOST_BATCH):
            part = slice(start, start + MOST_BATCH)
            part_mask = mask[part] if mask is not None and mask.shape[0] == batch else mask
            out[part] = sdpa(q[part], k[part], v[part], part_mask, scale)
        return out
    if q.shape[1] == k.shape[1]:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=scale)
    if _choice(q, k, v, mask, scale) in (NONE, UNFUSED):
        k, v = repeat_kv(q, k, v)
    return torch.nn.functional.scaled_dot_product_attention(
        q, k, v, mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )


def executed_variant(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> str:
    """Which variant :func:`sdpa` runs for these tensors, as ``sdpa_flash``.

    Asks ``torch._fused_sdp_choice``, which sdpa itself asks; ``sdpa`` where a device has none
    (MPS), or one of its own (XPU).
    """
    choice = _choice(q, k, v, mask, scale)
    if choice in (NONE, UNFUSED):
        choice = _choice(q, *repeat_kv(q, k, v), mask, scale)
    return f"sdpa_{VARIANTS[choice]}" if 0 <= choice < OWN else "sdpa"


def _choice(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> int:
    """What torch's chooser returns: an index of :data:`VARIANTS`, or one of the others.

    Where nothing can run the call, some releases return ``NONE`` and some (2.5) raise.
    """
    import torch

    grouped = q.shape[1] != k.shape[1]
    try:
        return int(torch._fused_sdp_choice(q, k, v, mask, scale=scale, enable_gqa=grouped))
    except NotImplementedError:
        return OWN
    except RuntimeError:
        return NONE


def lack_of_memory(name: str, tensors: Tensors) -> str:
    """Why a variant cannot run for want of memory; empty where it can, or is fused.

    The unfused one holds the whole matrix of scores, in half precision and in fp32.

    Args:
        name: of a backend; ``sdpa`` stands for the variant that torch picks.
        tensors: q, k, v, mask and scale.
    """
    q, k = tensors[:2]
    if (executed_variant(*tensors) if name == "sdpa" else name) != "sdpa_math":
        return ""
    needed = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] * UNFUSED_BYTES_PER_SCORE
    free = free_bytes(q.device)
    if needed <= free:
        return ""
    return f"its scores take {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"


def _only(
    variant: str, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    """sdpa with all variants but one switched off.

    What ``torch.nn.attention.sdpa_kernel`` does, without most of its cost on the host, which a
    model that waits for the host pays at every call.
    """
    import torch

    cuda = torch.backends.cuda
    before = (
        cuda.math_sdp_enabled(),
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.cudnn_sdp_enabled(),
    )
    cuda.enable_math_sdp(variant == "math")
    cuda.enable_flash_sdp(variant == "flash")
    cuda.enable_mem_efficient_sdp(variant == "efficient")
    cuda.enable_cudnn_sdp(variant == "cudnn")
    try:
        return sdpa(q, k, v, mask, scale)
    finally:
        cuda.enable_math_sdp(before[0])
        cuda.enable_flash_sdp(before[1])
        cuda.enable_mem_efficient_sdp(before[2])
        cuda.enable_cudnn_sdp(before[3])


def sdpa_flash(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    return _only("flash", q, k, v, mask, scale)


def sdpa_efficient(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    return _only("efficient", q, k, v, mask, scale)


def sdpa_cudnn(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    return _only("cudnn", q, k, v, mask, scale)


def sdpa_math(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    return _only("math", q, k, v, mask, scale)


BACKENDS = (
    Backend(
        "sdpa",
        "torch's scaled_dot_product_attention, as torch picks",
        sdpa,
        in_graphs=InGraphs.TRACED,
    ),
    Backend(
        "sdpa_flash",
        "torch's FlashAttention-2",
        sdpa_flash,
        (
            Target("cpu", dtypes=("float64", *FLOATS)),
            Target(
                capabilities=(((8, 0), (99, 9)),),
                gfx=AOTRITON,
                dtypes=HALF,
                most_head_dim=256,
                masks=False,
            ),
        ),
        in_graphs=InGraphs.TRACED,
    ),
    Backend(
        "sdpa_efficient",
        "torch's memory-efficient attention (CUTLASS)",
        sdpa_efficient,
        (
            Target(capabilities=(((5, 0), (7, 9)),), dtypes=BEFORE_AMPERE),
            Target(capabilities=(((8, 0), (99, 9)),), gfx=AOTRITON),
        ),
        in_graphs=InGraphs.TRACED,
    ),
    Backend(
        "sdpa_cudnn",
        "cuDNN's attention, through torch",
        sdpa_cudnn,
        (Target(capabilities=(((8, 0), (99, 9)),), dtypes=HALF, head_dim_step=8),),
        in_graphs=InGraphs.TRACED,
    ),
    Backend(
        "sdpa_math",
        "torch's unfused attention; the whole matrix",
        sdpa_math,
        in_graphs=InGraphs.TRACED,
    ),
)
