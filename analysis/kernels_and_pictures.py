"""Notes on what ran instead of what was asked for, and on what became of the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .columns import condition_name

if TYPE_CHECKING:
    import pandas as pd

OPERATIONS = {"attention": ("Attention", "attention"), "linear": ("Arithmetic", "weight_format")}
"""Each with its name, and the column of the condition that asked for it."""
LEAST = {"picture_psnr_db": "PSNR {:.3g} dB", "picture_ssim": "SSIM {:.3f}"}


def fallback_notes(runs: pd.DataFrame) -> list[str]:
    """What another kernel than the requested one ran, each kind once."""
    notes = []
    for operation, (name, condition) in OPERATIONS.items():
        fallen = runs[runs[f"{operation}_fallbacks"] != ""]
        kinds = fallen.groupby([condition, f"{operation}_fallbacks"], sort=False)
        notes += [
            f"{name} of {requested} was not what ran: {fallbacks}"
            for (requested, fallbacks), _ in kinds
        ]
    return notes


def picture_notes(runs: pd.DataFrame) -> list[str]:
    """For every condition whose pictures were checked: broken and why, or how near they are."""
    made = runs[(runs["error"] == "") & ~runs["is_warmup"]]
    keys = ["condition", "attention", "weight_format", "optimizations"]
    groups = (group for _, group in made.groupby(keys, sort=False))
    return [_note(group) for group in groups if _is_checked(group)]


def _is_checked(group: pd.DataFrame) -> bool:
    return bool(((group["picture_reference"] != "") | (group["picture_fault"] != "")).any())


def _note(group: pd.DataFrame) -> str:
    first = group.iloc[0]
    name = ", ".join(
        part
        for part in (first["attention"], first["weight_format"], first["optimizations"])
        if part
    )
    faults = group.loc[group["picture_fault"] != "", "picture_fault"]
    if len(faults):
        reasons = ", ".join(faults.unique())
        return (
            f"{len(faults)} of {len(group)} pictures of {condition_name(first)} ({name}) are "
            f"broken: {reasons}. What that row costs less is no saving."
        )
    near = [text.format(group[c].min()) for c, text in LEAST.items() if group[c].notna().any()]
    if group["picture_lpips"].notna().any():
        near.append(f"LPIPS {group['picture_lpips'].max():.3f}")
    if not near:
        return f"Pictures of {name} are equal to those of the same seed."
    return f"Pictures of {name} against those of the same seed: at worst {', '.join(near)}."


def what_ran(measured: pd.DataFrame) -> dict[str, str]:
    """What a condition's runs counted: of each column of kernels what its cells said, each once."""
    columns = [f"{name}_{part}" for name in OPERATIONS for part in ("executed", "fallbacks")]
    return {
        column: " | ".join(cell for cell in measured[column].unique() if cell) for column in columns
    }
