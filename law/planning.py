"""What each setting of a run costs, and which runs are worth it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..records import Condition, Prediction
from .cards import Card
from .data import LawDataError, read_table
from .forecast import Forecast, forecast_run

EDGES_PX = (512, 768, 1024, 1536)
STEPS = (4, 8, 20, 30, 50)
BATCHES = (1, 2, 4, 8)
GUIDANCE = 7.0
"""A scale that stands for guidance where the base run has none; its value does not matter."""

QUALITY_COLUMNS = ("width_px", "height_px", "steps", "quality")


@dataclass(frozen=True)
class Option:
    """The base run with one setting changed. Energy is per image; ``None`` has a reason in note.

    ``ratio`` is the energy over the base's; the errors of both are common, so it is sharper than
    their intervals.
    """

    setting: str
    choice: str
    energy: Prediction | None
    ratio: float | None
    note: str


@dataclass(frozen=True)
class Candidate:
    """A run whose quality was given; ``on_front`` if no other is both cheaper and better."""

    condition: Condition
    energy: Prediction
    quality: float
    on_front: bool


def options(base: Condition, card: Card) -> tuple[Option, ...]:
    """The base run and its variations, one setting at a time.

    Raises:
        LawDataError: the base run itself cannot be predicted.
    """
    reference = _known(_forecast(base, card)).value
    found = []
    for setting, choice, condition in _variations(base, card):
        made = _forecast(condition, card)
        energy = made.energy_per_img
        ratio = None if energy is None else energy.value / reference
        note = made.novelty if energy is not None else "; ".join(made.notes)
        found.append(Option(setting, choice, energy, ratio, note))
    return tuple(found)


def _variations(base: Condition, card: Card) -> list[tuple[str, str, Condition]]:
    size = (base.width_px or 0, base.height_px or 0)
    sizes = sorted({size, *((edge, edge) for edge in EDGES_PX)}, key=lambda s: s[0] * s[1])
    found = [("resolution", f"{w}x{h}", replace(base, width_px=w, height_px=h)) for w, h in sizes]
    steps = sorted({base.steps or 1, *STEPS})
    found += [("steps", str(n), replace(base, steps=n)) for n in steps]
    formats = sorted({base.weight_format, *card.dtypes})
    found += [("precision", name, replace(base, weight_format=name)) for name in formats]
    scale = base.cfg if base.cfg not in (None, 1.0) else GUIDANCE
    found += [
        ("guidance", label, replace(base, cfg=cfg)) for label, cfg in (("off", 1.0), ("on", scale))
    ]
    batches = sorted({base.batch_size or 1, *BATCHES})
    found += [("batch", str(n), replace(base, batch_size=n)) for n in batches]
    return found


def front(base: Condition, card: Card, qualities: Path) -> tuple[Candidate, ...]:
    """Energy against quality, cheapest first; quality is of any scale on which more is better.

    Args:
        base: what the rows do not say.
        card: the laws.
        qualities: a CSV with :data:`QUALITY_COLUMNS`.

    Raises:
        LawDataError: columns are missing, or a row cannot be predicted.
    """
    table = read_table(qualities)
    missing = [name for name in QUALITY_COLUMNS if name not in table]
    if missing:
        raise LawDataError(f"{qualities} lacks the columns {', '.join(missing)}")
    known = []
    for row in table.to_dict("records"):
        width, height, steps = (int(row[name]) for name in QUALITY_COLUMNS[:3])
        condition = replace(base, width_px=width, height_px=height, steps=steps)
        known.append((condition, _known(_forecast(condition, card)), float(row["quality"])))
    known.sort(key=lambda entry: entry[1].value)
    pairs = [(energy.value, quality) for _, energy, quality in known]
    return tuple(
        Candidate(*entry, on_front)
        for entry, on_front in zip(known, undominated(pairs), strict=True)
    )


def undominated(pairs: Sequence[tuple[float, float]]) -> list[bool]:
    """For pairs of cost and quality: which of them are the Pareto front.

    A pair is left out where another one costs no more, is no worse, and is not the same.
    """
    return [
        not any(other != pair and other[0] <= pair[0] and other[1] >= pair[1] for other in pairs)
        for pair in pairs
    ]


def _forecast(condition: Condition, card: Card) -> Forecast:
    return forecast_run(condition, condition.steps or 0, card)


def _known(made: Forecast) -> Prediction:
    if made.energy_per_img is None:
        raise LawDataError("; ".join(made.notes))
    return made.energy_per_img
