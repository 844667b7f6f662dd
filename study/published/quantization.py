"""Tables 2 and 3 of the published benchmark of formats, with what really ran in one's own runs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

from ...analysis.analysis import Analysis
from ...law.data import DATA
from ...tables.table import BLANK, Table
from .page import Section, StudyPage, likeness, number

CSV = DATA / "quant_bench_rtx_pro_6000.csv"
SIXTEEN_BIT = ("fp16", "bf16")
GIGA = 1e9

MODELS: dict[str, dict[str, object]] = {
    "SD 1.5": {"architecture": "sd15", "steps": 30},
    "SDXL": {"architecture": "sdxl", "steps": 30},
    "LCM-SDXL": {"architecture": "sdxl", "steps": 4},
    "Flux.1 Schnell": {"architecture": "flux", "steps": 4},
    "Flux.1 Dev": {"architecture": "flux", "steps": 28},
}
"""Which work of the published rows runs can be. Turbo, Lightning, Hyper and LCM are SDXL with few
steps and other weights: what they cost is the same, so that 4 steps stand beside LCM-SDXL."""

SIZE: dict[str, object] = {"width_px": 1024, "height_px": 1024, "batch_size": 1}

Measured = tuple[str, dict[Any, Any]]


def sections(analysis: Analysis) -> Sequence[Section]:
    with CSV.open(encoding="utf-8", newline="") as file:
        published = {(row["model"], row["quant"]): row for row in csv.DictReader(file)}
    own = _own(analysis)
    return [_results(published, own), _formats(published, own)]


def _own(analysis: Analysis) -> list[Measured]:
    """The published model that each row's architecture and steps stand for, and its facts."""
    found: list[Measured] = []
    rows = analysis.summary.to_dict("records")
    for row, condition in zip(rows, analysis.conditions, strict=True):
        if not row["n"]:
            continue
        runs = condition.measured
        family = str(row["architecture"]).removesuffix("_other_size")
        work = {"architecture": family, "steps": row["steps"]}
        model = next((name for name, wanted in MODELS.items() if wanted == work), "")
        facts = {
            **row,
            "format": "fp16" if row["weight_format"] in SIXTEEN_BIT else row["weight_format"],
            "time_s": runs["s_per_img"].mean(),
            "model_bytes": runs["model_bytes"].astype("float64").mean(),
            "ran": " | ".join(dict.fromkeys(cell for cell in runs["linear_executed"] if cell)),
            "fell_back": any(runs["linear_fallbacks"] != ""),
        }
        found.append((model, facts))
    return found


def _results(published: dict[tuple[str, str], dict[str, str]], own: Sequence[Measured]) -> Section:
    rows: list[tuple[str, ...]] = []
    for (model, quant), row in published.items():
        rows.append(
            (
                model,
                quant,
                row["avg_time_s"],
                row["s_per_step"],
                row["steps"],
                row["peak_vram_gb"],
                row["model_vram_gb"],
                row["sharpness"],
                row["colorfulness"],
                row["clip_score"] or BLANK,
                BLANK,
                "published",
            )
        )
        rows += [_own_cells(name, f) for name, f in own if (name, f["format"]) == (model, quant)]
    known = {*published}
    rows += [_own_cells(name, f) for name, f in own if (name, f["format"]) not in known]
    headings = (
        "Model",
        "Quant",
        "Avg time (s)",
        "s/step",
        "Steps",
        "VRAM peak (GB)",
        "VRAM model (GB)",
        "Sharpness",
        "Colorfulness",
        "CLIP score",
        "Arithmetic that ran",
        "Likeness",
    )
    notes = (
        "s/step is the whole time over the steps, as published. Your VRAM of the model is of its "
        "denoiser alone, the published one of everything that was loaded.",
        "Qualities of random weights tell nothing of formats; CLIP scores of another checkpoint "
        "cannot be compared.",
    )
    return Section("Table 3: results", Table(headings, tuple(rows)), notes)


def _own_cells(model: str, f: dict[Any, Any]) -> tuple[str, ...]:
    return (
        f"yours: {model or f['architecture']}",
        str(f["format"]),
        number(f["time_s"], ".2f"),
        number(f["time_s"] / f["steps"] if f["steps"] else None, ".4f"),
        number(f["steps"], ".0f"),
        number(f["peak_vram_bytes_mean"] / GIGA, ".1f"),
        number(f["model_bytes"] / GIGA, ".1f"),
        number(f["quality_sharpness_mean"], ".1f"),
        number(f["quality_colourfulness_mean"], ".1f"),
        number(f["quality_clip_score_mean"], ".4f"),
        f["ran"] or BLANK,
        likeness(f, {**MODELS.get(model, {}), **SIZE}),
    )


def _formats(published: dict[tuple[str, str], dict[str, str]], own: Sequence[Measured]) -> Section:
    """Each format against the 16 bits of its model: bytes, time, and whether it ran natively."""
    rows = []
    for model, facts in own:
        base = next(
            (
                other
                for name, other in own
                if other["format"] == "fp16"
                and (name, other["architecture"], other["steps"], other["cfg"])
                == (model, facts["architecture"], facts["steps"], facts["cfg"])
                and other["gpu_uuid"] == facts["gpu_uuid"]
            ),
            None,
        )
        if base is None or base is facts:
            continue
        theirs, reference = (published.get((model, q)) for q in (facts["format"], "fp16"))
        said = (BLANK, BLANK)
        if theirs is not None and reference is not None:
            said = (
                f"{float(theirs['model_vram_gb']) / float(reference['model_vram_gb']):.2f}",
                f"{float(theirs['avg_time_s']) / float(reference['avg_time_s']):.2f}",
            )
        rows.append(
            (
                model or facts["architecture"],
                facts["format"],
                number(facts["model_bytes"] / base["model_bytes"], ".2f"),
                said[0],
                number(facts["time_s"] / base["time_s"], ".2f"),
                said[1],
                ("fell back: " if facts["fell_back"] else "") + (facts["ran"] or "not counted"),
            )
        )
    headings = ("Model", "Format", "Bytes ×", "published", "Time ×", "published", "As executed")
    notes = ("Both are over the 16 bits of the same model on the same card, of means.",)
    if not rows:
        notes = ("No format has its 16 bits beside it in these runs, so that there is no ratio.",)
    return Section("Table 2: what each format does", Table(headings, tuple(rows)), notes)


QUANTIZATION = StudyPage(
    "quantization",
    "Your runs beside the published benchmark of formats",
    "Published: nine models on one RTX PRO 6000 (96 GB) with diffusers, 13 prompts × 3 seeds. What "
    "its figures contradict: docs/published.md.",
    sections,
)
