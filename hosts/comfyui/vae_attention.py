"""The attention of one VAE's copy. ComfyUI's override does not reach VAEs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import comfy.ldm.modules.diffusionmodules.model as comfy_vae
import torch

from ...attention import AttentionCall, Backend, backend_named
from ...attention.auto import check_beside_sdpa
from ...attention.ledger import Ledger, clock_of
from ...attention.packages import failure, kernel_errors
from ...offer import Machine, machine_of
from ...records import KernelCalls
from .fallbacks import tell_fallbacks
from .identity import attach_optimization
from .ledgers import attach_ledger
from .vae_copy import copy_vae

NAME = "attention"
OWN = ("normal_attention", "xformers_attention", "pytorch_attention")
"""ComfyUI's attention functions of VAEs, one of which each attention block holds."""

MAX_ERROR = 0.05
"""The relative error against fp32 above which a kernel that quantizes is refused."""


def choose_vae_attention(vae: Any, backend_name: str) -> Any:
    """A copy of ``vae`` whose attention blocks compute with a backend, and count their calls.

    The first call of a shape is compared with fp32. A call that the backend cannot run, or gets
    wrong, is left to ComfyUI's function and counted with its reason. An earlier choice of this
    function is replaced.

    Raises:
        ValueError: no such backend, or the VAE has no attention block.
    """
    backend = backend_named(backend_name)
    blocks = attention_blocks(vae.patcher.model)
    if not blocks:
        raise ValueError(
            f"{type(vae.patcher.model).__name__} has no attention that can be chosen. Bypass this "
            "node."
        )
    attention = _Attention(backend, machine_of(vae.patcher.load_device))

    @contextmanager
    def chosen() -> Iterator[None]:
        own = [block.optimized_attention for block in blocks]
        for block, function in zip(blocks, own, strict=True):
            block.optimized_attention = partial(attention.compute, function)
        try:
            yield
        finally:
            for block, function in zip(blocks, own, strict=True):
                block.optimized_attention = function
        tell_fallbacks(attention.node_id, attention.read())

    changed = copy_vae(vae, NAME, chosen)
    attach_optimization(changed.patcher, NAME, f"{NAME} {backend_name}")
    attach_ledger(changed.patcher, NAME, attention)
    return changed


def attention_blocks(module: Any) -> list[Any]:
    """The blocks of a VAE's module that hold one of ComfyUI's attention functions."""
    own = [getattr(comfy_vae, name) for name in OWN]
    return [part for part in module.modules() if vars(part).get("optimized_attention") in own]


class _Attention:
    """What the blocks call in place of ComfyUI's function, and the ledger of these calls."""

    def __init__(self, backend: Backend, machine: Machine) -> None:
        self.node_id = ""
        self._backend = backend
        self._machine = machine
        self._ledger = Ledger(f"vae {backend.name}", clock_of(machine.kind))
        self._refusals: dict[AttentionCall, str] = {}

    def compute(self, own: Any, q: Any, k: Any, v: Any) -> Any:
        """Attention of one head over all points of ``[batch, channels, ...]``, in that shape."""
        hnd = [t.flatten(2).transpose(1, 2).unsqueeze(1).contiguous() for t in (q, k, v)]
        call = AttentionCall.of(self._machine, hnd[0], hnd[1])
        if call not in self._refusals:
            trial = check_beside_sdpa(self._backend, call, (*hnd, None, None), MAX_ERROR)
            self._refusals[call] = trial.refusal
        if not self._refusals[call]:
            try:
                out: torch.Tensor = self._backend(*hnd)
            except kernel_errors() as error:
                self._refusals[call] = failure(error)
            else:
                self._ledger.tally(f"vae {self._backend.name}").call_count += 1
                return out.squeeze(1).transpose(1, 2).reshape(q.shape)
        self._ledger.tally(f"vae {own.__name__}", self._refusals[call]).call_count += 1
        return own(q, k, v)

    def clear(self) -> None:
        self._ledger.clear()

    def read(self) -> list[KernelCalls]:
        return [
            KernelCalls("attention", c.requested, c.executed, c.call_count, c.duration_s, c.reason)
            for c in self._ledger.read()
        ]
