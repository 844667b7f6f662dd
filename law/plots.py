"""Pictures for the report; needs matplotlib, the extra ``plots``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..tables.figure import new_figure
from . import equation3, operators
from .planning import Option
from .reproduce import TITLES
from .scores import Law, held_out, leave_one_out

if TYPE_CHECKING:
    import pandas as pd


def write_plots(frame: pd.DataFrame, folder: Path) -> tuple[tuple[str, str], ...]:
    """Write the pictures into ``folder``; returns (caption, file name) of each.

    Raises:
        PlotsUnavailableError: without matplotlib.
        OSError: the folder cannot be written.
    """
    laws: dict[str, Callable[[pd.DataFrame], Law]] = {
        "equation3": equation3.fit,
        "operator_law": operators.fit,
    }
    captions = {"equation3": "Equation 3", "operator_law": "The operator law"}
    written = []
    for name, fit in laws.items():
        models = leave_one_out(frame["architecture"])
        result = held_out(frame, fit, models)
        figure = new_figure(6, 6)
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


def write_validation(rows: pd.DataFrame, path: Path) -> None:
    """Predicted against measured joules with 90 % intervals, a colour a model, a mark a card.

    Raises:
        PlotsUnavailableError: without matplotlib.
        OSError: the folder cannot be written.
    """
    figure = new_figure(6, 6)
    axes = figure.add_subplot()
    colours = {name: f"C{at}" for at, name in enumerate(dict.fromkeys(rows["architecture"]))}
    marks = dict(zip(dict.fromkeys(rows["gpu"]), "os^Dv<>pP*X" * len(rows), strict=False))
    for (model, gpu), part in rows.groupby(["architecture", "gpu"], sort=False):
        spread = [part["value"] - part["low"], part["high"] - part["value"]]
        axes.errorbar(
            part["actual_j"],
            part["value"],
            yerr=spread,
            fmt=marks[gpu],
            color=colours[model],
            markersize=3,
            linewidth=0.5,
            label=f"{model}, {gpu}",
        )
    edges = [rows["actual_j"].min(), rows["actual_j"].max()]
    axes.plot(edges, edges, "k-", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("Measured, J of all images of a row")
    axes.set_ylabel("Predicted, J, with its 90 % interval")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


def write_plan(options: Sequence[Option], path: Path) -> None:
    """Joules per image of each option with their intervals, a panel for each setting.

    Raises:
        PlotsUnavailableError: without matplotlib.
        OSError: the file cannot be written.
    """
    known = [(one, one.energy) for one in options if one.energy is not None]
    settings = list(dict.fromkeys(one.setting for one, _ in known))
    figure = new_figure(8, 1 + 0.35 * len(known))
    ratios = [sum(one.setting == name for one, _ in known) for name in settings]
    panels = figure.subplots(len(settings), sharex=True, squeeze=False, height_ratios=ratios)
    for axes, name in zip(panels[:, 0], settings, strict=True):
        rows = [(one, energy) for one, energy in known if one.setting == name]
        values = [energy.value for _, energy in rows]
        below = [energy.value - energy.low for _, energy in rows]
        above = [energy.high - energy.value for _, energy in rows]
        axes.errorbar(values, range(len(rows)), xerr=[below, above], fmt="o", capsize=3)
        axes.set_yticks(range(len(rows)), [one.choice for one, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_ylabel(name)
        axes.set_xscale("log")
    panels[-1, 0].set_xlabel("J per image, with its interval")
    figure.savefig(path, metadata={"Date": None})
