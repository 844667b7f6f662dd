"""The page of a fleet: cards side by side, which card for which work, the published beside."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.analysis import Analysis
from ..records import Estimate
from ..study.published import EDGE_NODES
from ..tables.decimals import with_half_width
from ..tables.markdown import bullets, table_lines
from ..tables.table import BLANK
from .rows import CardRow

GIB = 2**30
UNITS = {"joules": "J/img", "seconds": "s/img"}
HEADINGS = (
    "Card",
    "Setting",
    "J/img",
    "s/img",
    "Peak VRAM (GiB)",
    "Idle (W)",
    "n",
    "Visits",
    "Energy",
    "Note",
)
NOTES = (
    "Mean ± half width of the 95 % interval, over visits (processes) where there are several.",
    "Compare within a table: its rows computed the same. Nothing is pooled over cards.",
    "Energies of different kinds (a counter, an estimate) are not the same quantity.",
)


TOO_MANY = (
    "These are too many runs to be compared in one table: the tables of the study of edge nodes "
    "are left out."
)


def as_markdown(rows: Sequence[CardRow], analysis: Analysis | None = None) -> str:
    """The page; ``analysis`` of all runs adds the tables of the study of edge nodes."""
    lines = ["# Cards side by side", "", *bullets(NOTES), ""]
    works = list(dict.fromkeys(row.work for row in rows))
    if not works:
        lines += ["Nothing was measured.", ""]
    for work in works:
        own = sorted((row for row in rows if row.work == work), key=by_joules)
        lines += [f"## {work}", "", *table_lines(HEADINGS, map(cells, own)), ""]
        lines += [*bullets(verdicts(own)), ""]
    if analysis is not None:
        lines += [f"# {EDGE_NODES.title}", "", EDGE_NODES.source, ""]
        lines += EDGE_NODES.markdown(analysis).splitlines()[4:]
    elif works:
        lines += [TOO_MANY, ""]
    return "\n".join(lines).rstrip() + "\n"


def verdicts(rows: Sequence[CardRow]) -> list[str]:
    """Which card of one work takes the least energy, and which the least time."""
    found = []
    for name, least in (("joules", "energy"), ("seconds", "time")):
        best, level, why_not = least_of(rows, name)
        if best is None:
            found.append(why_not)
            continue
        value = _estimate(getattr(best, name))
        text = f"Least {least}: {best.gpu} ({best.card}), {best.setting}, {value} {UNITS[name]}"
        others = ", ".join(f"{row.gpu} ({row.card}), {row.setting}" for row in level)
        found.append(f"{text}; not told apart from it: {others}." if level else f"{text}.")
    return found


def least_of(rows: Sequence[CardRow], name: str) -> tuple[CardRow | None, Sequence[CardRow], str]:
    """Of one work the row with the least ``joules`` or ``seconds``, and those not told apart from
    it; ``None`` and the reason where nothing can be said."""
    known = [row for row in rows if getattr(row, name) is not None and not row.is_broken]
    kinds = {row.meter for row in known}
    if name == "joules" and len(kinds) > 1:
        return None, (), f"Least energy: not said, energies are of {len(kinds)} kinds."
    known.sort(key=lambda row: getattr(row, name).value)
    if not known:
        return None, (), f"No row has {UNITS[name]}."
    best = known[0]
    value: Estimate = getattr(best, name)
    return best, [row for row in known[1:] if not _is_above(getattr(row, name), value)], ""


def _is_above(other: Estimate, best: Estimate) -> bool:
    """Whether intervals do not overlap; without an interval nothing is told apart."""
    return other.ci_low > best.ci_high


def by_joules(row: CardRow) -> tuple[bool, float]:
    """The order of a table: fewest joules first, those without any last."""
    return row.joules is None, row.joules.value if row.joules else 0.0


def cells(row: CardRow) -> tuple[str, ...]:
    """A row of a table with :data:`HEADINGS`."""
    vram = row.peak_vram_bytes
    return (
        f"{row.gpu} ({row.card})",
        row.setting,
        _estimate(row.joules),
        _estimate(row.seconds),
        BLANK if vram is None else with_half_width(vram.value / GIB, vram.half_width / GIB),
        BLANK if row.idle_power_w is None else f"{row.idle_power_w:.1f}",
        str(row.run_count),
        str(row.visit_count),
        row.meter or BLANK,
        "; ".join(
            filter(None, ("broken pictures" if row.is_broken else "", row.together, row.note))
        ),
    )


def _estimate(value: Estimate | None) -> str:
    return BLANK if value is None else with_half_width(value.value, value.half_width)
