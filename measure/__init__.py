"""Observation: meters, windows, attribution and the protocol. Knows no host.

:func:`function` measures any Python function, in a script or a notebook; see ``docs/api.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .protocol.functions import Cost, Measured, function, open_meter

__all__ = ["Cost", "Measured", "function", "open_meter"]


def __getattr__(name: str) -> Any:
    """Imported when asked for: importing the pack imports nothing else."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .protocol import functions

    return getattr(functions, name)
