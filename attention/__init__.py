"""Attention kernels: how a model computes attention, and on what machines."""

from __future__ import annotations

from ..offer import Machine, Offer
from . import chunked, flash, kitchen, sage, sdpa, xformers
from .base import AttentionCall, Backend, Target

__all__ = ["BACKENDS", "AttentionCall", "Backend", "Target", "backend_named", "offers"]

BACKENDS: tuple[Backend, ...] = (
    *sdpa.BACKENDS,
    *flash.BACKENDS,
    *sage.BACKENDS,
    *kitchen.BACKENDS,
    *xformers.BACKENDS,
    *chunked.BACKENDS,
)
"""torch's own first, then by family; the order is no preference."""


def backend_named(name: str) -> Backend:
    """The backend of that name.

    Raises:
        ValueError: there is none.
    """
    for backend in BACKENDS:
        if backend.name == name:
            return backend
    names = ", ".join(backend.name for backend in BACKENDS)
    raise ValueError(f"unknown attention backend {name!r}; choose one of {names}")


def offers(machine: Machine) -> list[Offer]:
    """Every backend, as ``machine`` has it."""
    return [backend.offer(machine) for backend in BACKENDS]
