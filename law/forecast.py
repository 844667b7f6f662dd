"""What a run will take, before it is made, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..records import Condition, Prediction
from ..tables.decimals import in_figures
from .cards import Card
from .cost import JOULES_PER_WH, Tariff
from .data import Energy, planned
from .flop import ALIASES, DEFAULT_CFG, DEFAULT_TEXT_TOKENS, flop_count
from .operators import OperatorLaw, Unit

CONFIDENCE = 0.9
ENERGY_WORDS: Mapping[Energy, str] = {
    "gross": "",
    "net": ", net of idle power",
    "denoise": ", denoising alone",
}


@dataclass(frozen=True)
class Forecast:
    """What is expected of a run of ``condition``, per image; the run is ``batch_size`` images.

    A part that cannot be told is ``None``, and ``notes`` say why. ``novelty`` is what the run has
    that the data behind the law have not, also in the notes. ``flop_count`` is that of the whole
    run.
    """

    condition: Condition
    flop_count: int | None = None
    energy_per_img: Prediction | None = None
    duration_per_img: Prediction | None = None
    notes: tuple[str, ...] = ()
    novelty: str = ""

    @property
    def energy(self) -> Prediction | None:
        """Joules of the whole run, as :class:`..records.Run` keeps it."""
        one, images = self.energy_per_img, self.condition.batch_size
        return None if one is None or images is None else scaled(one, images)


def scaled(prediction: Prediction, factor: float) -> Prediction:
    """The same, times ``factor``."""
    return replace(
        prediction,
        value=factor * prediction.value,
        low=factor * prediction.low,
        high=factor * prediction.high,
    )


def forecast_run(
    condition: Condition,
    step_count: int,
    card: Card | None,
    why_no_card: str = "",
    *,
    text_tokens: int = DEFAULT_TEXT_TOKENS,
    confidence: float = CONFIDENCE,
) -> Forecast:
    """FLOPs, and by the laws of ``card`` joules and seconds, of a run of ``condition``.

    Args:
        condition: the run; architecture, size, batch, cfg, sampler and weight format matter.
        step_count: steps that the sampler really makes, which a scheduler may change.
        card: the device's laws, or ``None`` with the reason in ``why_no_card``.
        text_tokens: length of the prompt.
        confidence: of the intervals.
    """
    try:
        flops = _count_flops(condition, step_count, text_tokens)
    except ValueError as error:
        return Forecast(condition, notes=(f"no forecast: {error}",))
    if card is None:
        return Forecast(condition, flops, notes=(f"no forecast of energy: {why_no_card}",))
    try:
        predictions, novelty = _predict(condition, step_count, card, text_tokens, confidence)
    except ValueError as error:
        return Forecast(condition, flops, notes=(f"no forecast of energy: {error}",))
    notes = [*card.notes]
    notes += [f"beyond the data, so the interval is wide: {novelty}"] if novelty else []
    if "s" not in predictions:
        notes.append("no forecast of time: it needs a calibration with runs of this device")
    energy, duration = predictions["J"], predictions.get("s")
    return Forecast(condition, flops, energy, duration, tuple(notes), novelty)


def _count_flops(condition: Condition, step_count: int, text_tokens: int) -> int:
    """FLOPs of the whole run.

    Raises:
        ValueError: no formula for the architecture, the size or the sampler.
    """
    count = flop_count(
        condition.architecture,
        condition.width_px or 0,
        condition.height_px or 0,
        step_count,
        cfg=_cfg(condition),
        batch_size=1 if condition.batch_size is None else condition.batch_size,
        text_tokens=text_tokens,
        sampler=condition.sampler,
    )
    return count.total


def _cfg(condition: Condition) -> float:
    name = ALIASES.get(condition.architecture, condition.architecture)
    return DEFAULT_CFG.get(name, 1.0) if condition.cfg is None else condition.cfg


def _predict(
    condition: Condition, step_count: int, card: Card, text_tokens: int, confidence: float
) -> tuple[dict[Unit, Prediction], str]:
    """Per image, by unit; and why the run lies beyond the data, if it does."""
    run = planned(
        condition.architecture,
        card.gpu,
        condition.width_px or 0,
        condition.height_px or 0,
        step_count,
        dtype=condition.weight_format,
        cfg=_cfg(condition),
        sampler=condition.sampler,
        batch_size=1 if condition.batch_size is None else condition.batch_size,
        text_tokens=text_tokens,
    )
    found: dict[Unit, Prediction] = {}
    novelty = ""
    for unit, law in card.laws_of(condition.weight_format).items():
        value, low, high, novelty = law.predict_one(run, confidence)
        whole = Prediction(value, low, high, confidence, unit, _source(card.gpu, law))
        found[unit] = scaled(whole, 1 / run["images"])
    return found, novelty


def sentence(made: Forecast, tariff: Tariff) -> str:
    """The forecast in words: energy, time, cost, FLOPs, then the notes, a line each."""
    lines = []
    energy, time = made.energy_per_img, made.duration_per_img
    if energy is not None:
        lines.append(
            f"{interval_text(energy)} per image, {energy.value / JOULES_PER_WH:.3g} Wh, by the "
            f"{energy.source}."
        )
        lines += cost_lines(energy, tariff, time)
    if time is not None:
        lines.append(f"{interval_text(time)} per image.")
    if made.flop_count is not None:
        lines.append(f"{made.flop_count / 1e12:,.4g} TFLOP for the whole run.")
    return "\n".join([*lines, *(f"{note[0].upper()}{note[1:]}." for note in made.notes)])


def _source(gpu: str, law: OperatorLaw) -> str:
    basis = "" if law.basis == "measured" else f", {law.basis} energies"
    return f"operator law of {gpu}{basis}{ENERGY_WORDS[law.energy]}"


def interval_text(prediction: Prediction) -> str:
    """For example ``812 J (700 to 940, 90 % interval)``."""
    return (
        f"{in_figures(prediction.value, 3)} {prediction.unit} ({in_figures(prediction.low, 3)} to "
        f"{in_figures(prediction.high, 3)}, {prediction.confidence:.0%} interval)"
    )


def costs_at_ends(
    energy: Prediction, tariff: Tariff, time: Prediction | None
) -> dict[str, dict[str, float]]:
    """What the tariff makes of the value and of both ends of the intervals."""
    return {
        name: tariff.costs(getattr(energy, name), getattr(time, name) if time else None)
        for name in ("value", "low", "high")
    }


def cost_lines(
    energy_per_img: Prediction, tariff: Tariff, time_per_img: Prediction | None = None
) -> Sequence[str]:
    """A line for each cost that the tariff knows; of the device's energy, times the PUE."""
    at = costs_at_ends(energy_per_img, tariff, time_per_img)
    scope = "this device alone" if tariff.pue == 1 else f"this device, PUE {tariff.pue:g}"
    lines = [
        f"{in_figures(value, 3)} {unit} per image, {in_figures(1000 * value, 3)} per 1000 images "
        f"({in_figures(1000 * at['low'][unit], 3)} to {in_figures(1000 * at['high'][unit], 3)}), "
        f"{scope}."
        for unit, value in at["value"].items()
    ]
    if tariff.price_per_hour is not None and time_per_img is None:
        lines.append("No price of time: how long an image takes is not known.")
    return lines
