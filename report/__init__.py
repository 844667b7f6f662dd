"""An analysis shown: one module an output. Nothing is computed here."""

from __future__ import annotations

from .csv import read_runs
from .export import append_runs, reserved, write_all
from .text import summary_text

__all__ = ["append_runs", "read_runs", "reserved", "summary_text", "write_all"]
