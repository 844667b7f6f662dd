"""The SageAttention packages, which quantize: their results are close, not equal.

Sources: https://github.com/thu-ml/SageAttention (README, ``sageattention/core.py``,
``sageattention3_blackwell``) and the Triton source of the release 1.0.6.

None of them takes a mask: ``sageattn`` swallows an ``attn_mask`` in its ``**kwargs``.

Release 1.0.6 reads keys in blocks of 64. Its kernels load the keys that the last block lacks as
zeros and do not take them out of the softmax, so each adds ``exp(0 - max)`` to the denominator:
with 77 keys the result is about 0.7 of what it should be, without an error. Release 2 gives them a
score of -1e6. Smoothed keys bound the harm: their mean score is 0, so that the sum of the
exponentials is no less than the number of keys, and the result loses no more than the part
``missing / keys``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import FLOATS, HALF, Backend, Target, repeat_kv

if TYPE_CHECKING:
    from torch import Tensor

SAGE_1_KEY_BLOCK = 64
SAGE_1_MOST_PADDING = 0.01
"""The part of the result that release 1 may lose to keys that are not there."""


def sage_1(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Release 1: INT8 q and k, FP16 sums. Smooths k here, because its own smoothing is in place.

    Raises:
        ValueError: there is a mask.
    """
    _refuse(mask)
    from sageattention import sageattn

    return sageattn(q, smooth(k), v, tensor_layout="HND", sm_scale=scale, smooth_k=False)


def sage_2(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Release 2: the kernel that ``sageattn`` picks for the card.

    Raises:
        ValueError: there is a mask.
    """
    _refuse(mask)
    from sageattention import sageattn

    return sageattn(q, k, v, tensor_layout="HND", sm_scale=scale)


def sage_3(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Release 3: FP4. It works on ``k`` in place, so it is given its own.

    Raises:
        ValueError: there is a mask, or a scale.
    """
    _refuse(mask)
    if scale is not None:
        raise ValueError("SageAttention 3 takes no scale")
    from sageattn3 import sageattn3_blackwell

    k, v = repeat_kv(q, k, v)
    return sageattn3_blackwell(q, smooth(k), v)


def smooth(k: Tensor) -> Tensor:
    """``k`` less its mean over the keys, which changes no result and makes k easier to quantize.

    Source: SageAttention, arXiv 2410.02367, section 4.2.
    """
    return k - k.mean(dim=2, keepdim=True)


def _refuse(mask: Tensor | None) -> None:
    if mask is not None:
        raise ValueError("SageAttention takes no mask")


BACKENDS = (
    Backend(
        "sage_1",
        "SageAttention 1 (Triton, INT8)",
        sage_1,
        (
            Target(
                capabilities=(((8, 0), (9, 0)),),
                dtypes=FLOATS,
                head_dims=(64, 96, 128),
                kv_block=SAGE_1_KEY_BLOCK,
                most_padding=SAGE_1_MOST_PADDING,
                masks=False,
            ),
        ),
        package="sageattention",
        least_version=(1, 0, 5),
        below_version=(2,),
        install="pip install sageattention==1.0.6 triton (Windows: triton-windows)",
        is_exact=False,
    ),
    Backend(
        "sage_2",
        "SageAttention 2 (INT8 and FP16 or FP8)",
        sage_2,
        (
            Target(
                capabilities=(
                    ((8, 0), (8, 0)),
                    ((8, 6), (8, 6)),
                    ((8, 9), (9, 0)),
                    ((12, 0), (12, 1)),
                ),
                dtypes=HALF,
                most_head_dim=128,
                masks=False,
            ),
        ),
        package="sageattention",
        least_version=(2,),
        install=(
            "build it from github.com/thu-ml/SageAttention, or install a wheel made for your torch "
            "and CUDA"
        ),
        is_exact=False,
    ),
    Backend(
        "sage_3",
        "SageAttention 3, FP4, for Blackwell",
        sage_3,
        (
            Target(
                capabilities=(((10, 0), (10, 0)), ((12, 0), (12, 1))),
                dtypes=HALF,
                head_dims=(64, 128),
                masks=False,
                scales=False,
            ),
        ),
        package="sageattn3",
        install="build it from the folder sageattention3_blackwell of SageAttention's sources",
        is_exact=False,
    ),
)
