"""comfy-kitchen's attention: INT8 for any call, and Sol-Attn, which is sparse.

Both are approximate. Source: comfy-kitchen 0.2.40 (``sage_attention.py``, ``sol_attn``), which
ComfyUI has used since 0.38; arXiv 2607.24027 for Sol-Attn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import FLOATS, HALF, Backend, Target, repeat_kv
from .packages import import_fault

if TYPE_CHECKING:
    from torch import Tensor

MATRIX_CORES = ("gfx11", "gfx12")
"""AMD's Radeon cards for which comfy-kitchen has compiled kernels."""

INSTALL = "pip install --upgrade comfy-kitchen, in the version that your ComfyUI asks for"


def int8(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """``comfy_kitchen.int8_attention``: INT8 q, k, v and probabilities, in the layout HND."""
    import comfy_kitchen

    if mask is not None:
        mask = mask.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    return comfy_kitchen.int8_attention(q, k, v, scale=scale, attn_mask=mask)


def sol(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """``comfy_kitchen.sol_attn``: exact for some blocks of keys, a mean for each of the others.

    Raises:
        ValueError: there is a mask, or keys and queries are not equally many.
    """
    if mask is not None:
        raise ValueError("Sol-Attn takes no mask")
    if q.shape[2] != k.shape[2]:
        raise ValueError("Sol-Attn is for self-attention: keys and queries must be equally many")
    import comfy_kitchen

    k, v = repeat_kv(q, k, v)
    nhd = (x.transpose(1, 2).contiguous() for x in (q, k, v))
    return comfy_kitchen.sol_attn(*nhd, scale=scale).transpose(1, 2)


def _lacks(name: str, package: str) -> str:
    """Why the installed package does not offer the function ``name``; empty if it does."""
    fault = import_fault(package)
    if fault:
        return fault
    import comfy_kitchen

    if not hasattr(comfy_kitchen, name):
        return f"the installed {package} has no {name}"
    available = getattr(comfy_kitchen, f"{name}_is_available")
    return "" if available() else f"the installed {package} has no kernels of {name} for this card"


BACKENDS = (
    Backend(
        "kitchen_int8",
        "comfy-kitchen's INT8 attention",
        int8,
        (
            Target(
                capabilities=(((7, 5), (99, 9)),),
                gfx=MATRIX_CORES,
                dtypes=FLOATS,
                most_head_dim=256,
            ),
        ),
        package="comfy_kitchen",
        install=INSTALL,
        fault=lambda package: _lacks("int8_attention", package),
        is_exact=False,
    ),
    Backend(
        "kitchen_sol",
        "comfy-kitchen's sparse attention (Sol-Attn)",
        sol,
        (
            Target(
                capabilities=(((8, 0), (99, 9)),),
                gfx=MATRIX_CORES,
                dtypes=HALF,
                head_dims=(128,),
                masks=False,
            ),
        ),
        package="comfy_kitchen",
        install=INSTALL,
        fault=lambda package: _lacks("sol_attn", package),
        is_exact=False,
    ),
)
