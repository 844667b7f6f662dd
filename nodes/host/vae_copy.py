"""A VAE that computes under changed conditions, on a copy that shares the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def copy_vae(vae: Any, around: Callable[[], AbstractContextManager[None]]) -> Any:
    """A copy of ``vae`` whose every encoding and decoding runs within ``around()``.

    Its patcher is a clone. ``around`` undoes on leaving what it changed: the module is shared.
    """
    changed = copy.copy(vae)
    changed.patcher = vae.patcher.clone()
    changed.first_stage_model = _Within(vae.first_stage_model, around)
    return changed


class _Within:
    """A VAE's module whose ``encode`` and ``decode`` run within a context; the rest is its own."""

    def __init__(self, module: Any, around: Callable[[], AbstractContextManager[None]]) -> None:
        self._module = module
        self._around = around

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def encode(self, *args: Any, **kw: Any) -> Any:
        with self._around():
            return self._module.encode(*args, **kw)

    def decode(self, *args: Any, **kw: Any) -> Any:
        with self._around():
            return self._module.decode(*args, **kw)
