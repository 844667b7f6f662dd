"""A VAE that computes under changed conditions, on a copy that shares the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

Around = Callable[[], AbstractContextManager[None]]


def copy_vae(vae: Any, name: str, around: Around) -> Any:
    """A copy of ``vae`` whose every encoding and decoding runs within ``around()``.

    Its patcher is a clone. ``around`` undoes on leaving what it changed: the module is shared. One
    that an earlier copy was given under the same ``name`` is replaced.
    """
    changed = copy.copy(vae)
    changed.patcher = vae.patcher.clone()
    module, others = vae.first_stage_model, {}
    if isinstance(module, _Within):
        module, others = module._module, module._arounds
    changed.first_stage_model = _Within(module, {**others, name: around})
    return changed


class _Within:
    """A VAE's module whose ``encode`` and ``decode`` run within contexts; the rest is its own."""

    def __init__(self, module: Any, arounds: dict[str, Around]) -> None:
        self._module = module
        self._arounds = arounds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def encode(self, *args: Any, **kw: Any) -> Any:
        with self._entered():
            return self._module.encode(*args, **kw)

    def decode(self, *args: Any, **kw: Any) -> Any:
        with self._entered():
            return self._module.decode(*args, **kw)

    def _entered(self) -> ExitStack:
        """All contexts, entered together or not at all."""
        with ExitStack() as stack:
            for around in self._arounds.values():
                stack.enter_context(around())
            return stack.pop_all()
