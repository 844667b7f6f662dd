"""``leaderboard.html``: rows of many cards on one page, by what they computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..records import Estimate
from ..tables.decimals import with_half_width
from ..tables.table import BLANK
from .html import inlined, template_of
from .translation import translator

GIB = 2**30
FINGERPRINT_DIGITS = 12

HEADINGS = (
    "Card",
    "Model",
    "Settings",
    "J/img",
    "s/img",
    "Peak VRAM (GiB)",
    "n",
    "Visits",
    "Energy from",
    "What ran",
    "Recomputed",
    "Program",
    "Signed by",
    "Bundle",
)

NOTES = (
    "A row is one card, one meter and one set of runs. Nothing is pooled over bundles.",
    "Mean ± half width of the 95 % interval, over visits (fresh processes) where there are "
    "several, else over repeats. Intervals that overlap do not tell two rows apart.",
    "Compare within a table only: its rows computed the same. Model files may differ.",
    "Energy from different kinds of meters (a board's counter, an estimate) is not the same "
    "quantity.",
    "Recomputed: how many runs' energies were computed anew from their raw samples. A signature "
    "tells who vouches for a bundle, not that it is right.",
)


def as_leaderboard(board: Mapping[Any, Sequence[Any]], language: str = "en") -> str:
    """A page of the rows of each workload, as ``sharing.board`` has them.

    Raises:
        PageUnavailableError: without Jinja2 or matplotlib.
    """
    t = translator(language)
    rows = [row for group in board.values() for row in group]
    groups = [
        {
            "title": _title(workload),
            "size": _size(workload),
            "rows": [
                {"card": row.card, "model": row.model, "cells": _cells(row, t)} for row in group
            ],
        }
        for workload, group in board.items()
    ]
    cards = {row.card for row in rows}
    return template_of("leaderboard.html.j2").render(
        language=language,
        t=t,
        title=t("WattBench leaderboard"),
        lead=t(f"{len(rows)} rows of {len(cards)} cards"),
        caption=t("Fewer joules an image first"),
        filters=[
            ("model", t("Model"), sorted({row.model for row in rows})),
            ("size", t("Size"), sorted({_size(workload) for workload in board})),
            ("card", t("Card"), sorted(cards)),
        ],
        groups=groups,
        headings=[t(heading) for heading in HEADINGS],
        notes=[t(note) for note in NOTES],
        **inlined("page.js", "leaderboard.js"),
    )


def _cells(row: Any, t: Any) -> list[str]:
    vram = row.peak_vram_bytes
    return [
        row.card,
        row.model,
        row.setting or BLANK,
        t(_estimated(row.joules)),
        t(_estimated(row.seconds)),
        t(f"{vram / GIB:.2f}") if vram is not None else BLANK,
        str(row.run_count),
        str(row.visit_count),
        row.meter or BLANK,
        row.executed or BLANK,
        t(row.recomputed),
        row.host or BLANK,
        row.signer or BLANK,
        row.fingerprint[:FINGERPRINT_DIGITS],
    ]


def _estimated(found: Estimate | None) -> str:
    """On one line: a number and its interval stay together."""
    text = BLANK if found is None else with_half_width(found.value, found.half_width)
    return text.replace(" ", "\u00a0")


def _size(workload: Any) -> str:
    known = workload.width_px and workload.height_px
    return f"{workload.width_px:g} x {workload.height_px:g}" if known else BLANK


def _title(workload: Any) -> str:
    steps = f"{workload.steps:g} steps" if workload.steps else ""
    cfg = f"cfg {workload.cfg:g}" if workload.cfg is not None else ""
    batch = workload.batch_size or 1
    frames = workload.frames or 1
    parts = (
        workload.architecture,
        _size(workload) if _size(workload) != BLANK else "",
        steps,
        workload.sampler,
        cfg,
        f"batch {batch:g}" if batch > 1 else "",
        f"{frames:g} frames" if frames > 1 else "",
    )
    return ", ".join(part for part in parts if part)
