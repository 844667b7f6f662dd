"""Pictures for the report; needs matplotlib, the extra ``plots``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from . import equation3, operators
from .reproduce import TITLES
from .scores import Law, held_out, leave_one_out

if TYPE_CHECKING:
    import pandas as pd


class PlotsUnavailableError(RuntimeError):
    """matplotlib is not installed."""


def write_plots(frame: pd.DataFrame, folder: Path) -> tuple[tuple[str, str], ...]:
    """Write the pictures into ``folder``; answers (caption, file name) of each.

    Raises:
        PlotsUnavailableError: without matplotlib.
        OSError: the folder cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotsUnavailableError(
            "plots need matplotlib: pip install 'wattbench[plots]'"
        ) from error
    laws: dict[str, Callable[[pd.DataFrame], Law]] = {
        "equation3": equation3.fit,
        "operator_law": operators.fit,
    }
    captions = {"equation3": "Equation 3", "operator_law": "The operator law"}
    written = []
    for name, fit in laws.items():
        models = leave_one_out(frame["architecture"])
        result = held_out(frame, fit, models)
        figure = Figure(figsize=(6, 6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for architecture, title in TITLES.items():
            part = result[result["held_out"] == architecture]
            axes.loglog(part["actual_j"], part["value"], ".", label=title)
        edges = [result["actual_j"].min(), result["actual_j"].max()]
        axes.plot(edges, edges, "k-", linewidth=0.8)
        axes.set_xlabel("Measured, J for 100 images")
        axes.set_ylabel("Predicted, J, the model held out")
        axes.set_title(captions[name])
        axes.legend()
        file = f"law_{name}.svg"
        figure.savefig(folder / file, metadata={"Date": None})
        written.append((f"{captions[name]}, leave-one-model-out", file))
    return tuple(written)
