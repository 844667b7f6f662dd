"""The page of the history: what the last prompts cost, their nodes in time, and what changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from ..tables.decimals import in_figures
from ..tables.table import BLANK
from .html import HERE, inlined, template_of
from .translation import LANGUAGES, translator

if TYPE_CHECKING:
    from ..measure.graph.history import Entries

GIB = 2**30
FIGURES = 3
SHEETS: tuple[Path, ...] = (HERE / "page.css", HERE / "page.timeline.css")

HEADINGS = ("Began", "Workflow", "Time", "Energy", "Peak VRAM", "Δ", "Loaded", "Remarks")

DAMAGED = "Damaged lines of the history that were passed over"

NOTES = (
    "A node has the time in which its work ran on the device; a moment belongs to one node.",
    "Energy is of the whole device, by a meter that was read ten times a second beside the work; "
    "± is what the borders leave open, not the meter's own error. Shorter nodes have none.",
    "Δ is the change against the run before of the same workflow: of energy where both have it, "
    "else of time. One run is one measurement: to compare two settings use Benchmark.",
    "Loaded: models that came into device memory while a node ran, and (-) what left it. What came "
    "and left within one node is not seen.",
    "No prompt text is kept: nodes are named by their type and title.",
)

TEXTS = (
    "Whole prompt",
    "Node",
    "Time",
    "Energy",
    "loaded",
    "unloaded",
    "s from the begin of each prompt",
    "cached",
    "failed",
    "Choose prompts in the table to see them in time, beside each other.",
    "Arrow keys go from node to node.",
    "peak",
)
"""What the page's script writes."""


def as_timeline(entries: Entries, language: str = "en") -> str:
    """One page for any browser that needs nothing but itself; newest prompts first.

    Raises:
        PageUnavailableError: without Jinja2.
    """
    language = language if language in LANGUAGES else "en"
    t = translator(language)
    prompts = list(entries.prompts)
    workflows = _letters(prompts)
    rows = [_row(prompt, prompts[:place], workflows, t) for place, prompt in enumerate(prompts)]
    devices = ", ".join(dict.fromkeys(str(prompt["device"]) for prompt in prompts))
    damaged = entries.damaged_count
    data = {
        "prompts": [_drawn(prompt) for prompt in prompts[::-1]],
        "texts": {text: t(text) for text in TEXTS},
        "language": language,
    }
    return template_of("page.timeline.html.j2", has_charts=False).render(
        language=language,
        t=t,
        title=t("WattBench timeline"),
        lead=": ".join(filter(None, (t(f"{len(prompts)} prompts"), devices))),
        damaged=f"{t(DAMAGED)}: {damaged}" if damaged else "",
        headings=[t(heading) for heading in HEADINGS],
        rows=rows[::-1],
        notes=[t(note) for note in NOTES],
        data=_embedded(data),
        **inlined("page.timeline.js", sheets=SHEETS),
    )


def _letters(prompts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A short name for each workflow, in the order in which they first ran."""
    ids = dict.fromkeys(str(p["workflow_id"]) for p in prompts if p.get("workflow_id"))
    count = len(ascii_uppercase)
    return {
        name: ascii_uppercase[n % count] + (str(n // count + 1) if n >= count else "")
        for n, name in enumerate(ids)
    }


def _row(
    prompt: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]],
    workflows: Mapping[str, str],
    t: Any,
) -> dict[str, Any]:
    workflow = prompt.get("workflow_id")
    before = next((p for p in reversed(earlier) if workflow and p["workflow_id"] == workflow), None)
    remarks = [t("failed")] if prompt["state"] == "failed" else []
    remarks += [t(str(text)) for one in prompt["fallbacks"] for text in one["texts"]]
    remarks += [t(str(note)) for note in prompt["notes"]]
    energy = _joules(prompt["energy_j"], prompt["error_j"])
    method = prompt.get("method")
    vram = prompt["peak_vram_bytes"]
    return {
        "prompt_id": prompt["prompt_id"],
        "began": str(prompt["started_at"])[:19].replace("T", " ") + " UTC",
        "cells": [
            workflows.get(str(workflow), BLANK),
            t(f"{in_figures(prompt['time_s'], FIGURES)} s"),
            f"{t(energy)} ({t(method)})" if method and energy != BLANK else energy,
            BLANK if vram is None else t(f"{vram / GIB:.2f} GiB"),
            t(_change(prompt, before)),
            ", ".join(t(_load(load)) for load in prompt["loads"]) or BLANK,
            "; ".join(remarks) or BLANK,
        ],
    }


def _joules(energy_j: float | None, error_j: float | None) -> str:
    if energy_j is None:
        return BLANK
    error = "" if error_j is None else f" ± {in_figures(error_j, 1)}"
    return f"{in_figures(energy_j, FIGURES)}{error} J"


def _change(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    if before is None:
        return BLANK
    is_energy = now["energy_j"] is not None and before["energy_j"] is not None
    name = "energy_j" if is_energy else "time_s"
    return f"{100 * (now[name] / before[name] - 1):+.0f} %" if before[name] else BLANK


def _load(load: Mapping[str, Any]) -> str:
    sign = "-" if load["bytes"] < 0 else ""
    return f"{sign}{load['model']} {abs(load['bytes']) / GIB:.2f} GiB"


def _drawn(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """What the script needs of a prompt."""
    kept = ("node_id", "class_type", "title", "state", "start_s", "time_s", "energy_j", "note")
    nodes = [
        {**{name: node.get(name) for name in kept}, "vram": node.get("peak_vram_bytes")}
        for node in prompt["nodes"]
    ]
    names = ("prompt_id", "workflow_id", "started_at", "time_s", "energy_j", "loads")
    return {**{name: prompt[name] for name in names}, "nodes": nodes}


def _embedded(data: Mapping[str, Any]) -> object:
    """JSON that cannot end the element that it stands in."""
    from markupsafe import Markup

    text = json.dumps(data, ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704
