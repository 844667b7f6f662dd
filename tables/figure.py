"""Figures for reports; they need matplotlib, the extra ``plots``."""

from __future__ import annotations

from typing import Any


class PlotsUnavailableError(RuntimeError):
    """matplotlib is not installed."""


def new_figure(width_in: float, height_in: float) -> Any:
    """An empty matplotlib figure that needs no display.

    Raises:
        PlotsUnavailableError: without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotsUnavailableError("plots need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
