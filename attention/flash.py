"""The FlashAttention packages. Source: https://github.com/Dao-AILab/flash-attention (README)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import FLOATS, HALF, Backend, Target

if TYPE_CHECKING:
    from torch import Tensor

CK_TARGETS = ("gfx90a", "gfx94", "gfx95")
"""AMD's targets of the composable_kernel library: the Instinct cards MI200 and later."""

RDNA_TARGETS = ("gfx103", "gfx11", "gfx12")
"""AMD's Radeon cards, for which flash-attn 2 has kernels in Triton."""


def flash_attention_2(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """``flash_attn.flash_attn_func``, which has the layout NHD and takes no mask.

    Raises:
        ValueError: there is a mask.
    """
    _refuse(mask)
    from flash_attn import flash_attn_func

    nhd = (x.transpose(1, 2) for x in (q, k, v))
    return flash_attn_func(*nhd, softmax_scale=scale).transpose(1, 2)


def flash_attention_3(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """``flash_attn_interface.flash_attn_func``; its first releases return a tuple.

    Raises:
        ValueError: there is a mask.
    """
    _refuse(mask)
    from flash_attn_interface import flash_attn_func

    nhd = (x.transpose(1, 2) for x in (q, k, v))
    out = flash_attn_func(*nhd, softmax_scale=scale)
    return (out[0] if isinstance(out, tuple) else out).transpose(1, 2)


def flash_attention_4(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """``flash_attn.cute.flash_attn_func``, written in CuTe DSL; it answers a tuple.

    Raises:
        ValueError: there is a mask.
    """
    _refuse(mask)
    from flash_attn.cute import flash_attn_func

    nhd = (x.transpose(1, 2) for x in (q, k, v))
    out = flash_attn_func(*nhd, softmax_scale=scale)
    return (out[0] if isinstance(out, tuple) else out).transpose(1, 2)


def _refuse(mask: Tensor | None) -> None:
    if mask is not None:
        raise ValueError("FlashAttention takes no mask")


BACKENDS = (
    Backend(
        "flash_attention_2",
        "FlashAttention-2",
        flash_attention_2,
        (
            Target(
                capabilities=(((8, 0), (99, 9)),),
                gfx=CK_TARGETS,
                dtypes=HALF,
                most_head_dim=256,
                masks=False,
            ),
            Target(
                gfx=RDNA_TARGETS,
                switch="FLASH_ATTENTION_TRITON_AMD_ENABLE",
                dtypes=FLOATS,
                most_head_dim=256,
                masks=False,
            ),
        ),
        package="flash_attn",
        distribution="flash-attn",
        least_version=(2,),
        install="pip install flash-attn --no-build-isolation",
    ),
    Backend(
        "flash_attention_3",
        "FlashAttention-3, for Hopper",
        flash_attention_3,
        (
            Target(
                capabilities=(((9, 0), (9, 0)),),
                dtypes=HALF,
                most_head_dim=256,
                head_dim_step=8,
                masks=False,
            ),
        ),
        package="flash_attn_interface",
        install="build it from the hopper folder of the flash-attention sources",
    ),
    Backend(
        "flash_attention_4",
        "FlashAttention-4 (CuTe DSL)",
        flash_attention_4,
        (
            Target(
                capabilities=(((9, 0), (9, 0)),),
                dtypes=HALF,
                most_head_dim=256,
                head_dim_step=8,
                masks=False,
            ),
            Target(
                capabilities=(((8, 0), (8, 9)), ((10, 0), (12, 1))),
                dtypes=HALF,
                most_head_dim=128,
                head_dim_step=8,
                masks=False,
            ),
        ),
        package="flash_attn.cute",
        distribution="flash-attn-4",
        least_version=(4,),
        install="pip install --pre flash-attn-4 (for CUDA 13: flash-attn-4[cu13])",
    ),
)
