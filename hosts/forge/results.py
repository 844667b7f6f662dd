"""What Forge's page shows of runs: a card, and where the tables lie."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from ...records import Run
from ...report import append_runs
from ...report.glance import NAMES
from ...report.shown import summary_shown
from ...requirements import complaint, missing
from ...tables.table import BLANK
from .activity import Activity, runs_of_this_process
from .hooks import missing_points
from .host import FORGE
from .options import results_folder

NOTHING = "Nothing has been measured yet."


def latest_card() -> str:
    """The runs that were measured last, as HTML."""
    return card(FORGE.kept(Activity).latest)


def session_card() -> str:
    """All runs of this process, compared; with what cannot be measured here."""
    return card(runs_of_this_process())


def export() -> str:
    """Add this process's runs to the tables; which files were written, as HTML."""
    runs = runs_of_this_process()
    if not runs:
        return _note(NOTHING)
    try:
        return _list("Written:", map(str, append_runs(runs, results_folder())))
    except (OSError, ValueError) as error:
        return _note(f"The tables cannot be written: {error}")


def complaints() -> list[str]:
    """What this Forge or its Python lacks, each with what to do."""
    names = missing()
    lacking = [f"This Forge does not let {words} be measured." for words in missing_points()]
    return [*([complaint(names)] if names else []), *lacking]


def card(runs: Sequence[Run]) -> str:
    """What an image costs and the tables of it, as HTML; every text in it is escaped."""
    if not runs:
        return _note(NOTHING)
    shown = summary_shown(runs)
    failed = [f"Failed: {run.error}" for run in runs if run.error]
    left_out = [f"Not counted: {run.not_counted}" for run in runs if run.not_counted]
    notes = dict.fromkeys((*failed, *left_out, *shown["notes"]))
    tables = (
        (shown["headings"], shown["rows"]),
        (shown["phases"]["headings"], shown["phases"]["rows"]),
    )
    numbers = "".join((*(_table(*one) for one in tables), _list("", notes)))
    folded = f"<details><summary>All numbers</summary>{numbers}</details>"
    return _glance(shown["glance"]) + folded if shown["glance"] else numbers


def _glance(glance: dict[str, Any]) -> str:
    """Three figures, where it goes, and what is cheaper where there is something to compare."""
    row = glance["row"]
    lines = [*glance["verdict"], " ".join(filter(None, (glance["where"], *glance["asides"])))]
    figures = "".join(
        _figure(NAMES[one["name"]], one["unit"], one["values"][row]) for one in glance["measures"]
    )
    return (
        f"<p><strong>{escape(glance['common'] or glance['labels'][row])}</strong></p>"
        f"<div style='display:flex;flex-wrap:wrap;gap:2em'>{figures}</div>"
        + "".join(_note(line) for line in lines if line)
    )


def _figure(name: str, unit: str, value: dict[str, Any]) -> str:
    if "reason" in value:
        return f"<p>{escape(name)}<br><strong>{BLANK}</strong><br>{escape(value['reason'])}</p>"
    half = f"± {value['half']}" if value["half"] else ""
    large = f"<strong style='font-size:1.6em'>{escape(value['text'])} {escape(unit)}</strong>"
    return f"<p>{escape(name)}<br>{large}<br>{escape(half)}</p>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in headings)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        "<div style='overflow-x:auto'><table class='wattbench'>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _list(title: str, lines: Any) -> str:
    items = "".join(f"<li>{escape(str(line))}</li>" for line in lines)
    return (f"<p>{escape(title)}</p>" if title else "") + f"<ul>{items}</ul>"


def _note(text: str) -> str:
    return f"<p>{escape(text)}</p>"
