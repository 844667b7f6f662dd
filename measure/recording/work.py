"""What a run's samplings make of its condition: counted, where it can be, rather than asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...records import Condition, Sampling

ADAPTIVE_SAMPLERS = ("dpm_adaptive",)
ADAPTIVE_PATCHES = ("cache",)
"""What makes the number of evaluations or forwards depend on the picture, hence on the seed.

Part of the first words of ``optimizations``: EasyCache, LazyCache, TeaCache. What follows a first
word are the settings of a node, which may name any file."""

PLAIN_GUIDERS = ("CFGGuider", "Guider_Basic")
"""Guiders that the column ``cfg`` says all of."""


def counted_condition(condition: Condition, samplings: Sequence[Sampling]) -> Condition:
    """``condition`` with what its samplings were; as it is where there was none.

    Sizes and steps that are known already were asked for, and stay.
    """
    if not samplings:
        return condition
    last = samplings[-1]
    cfgs = {dict(sampling.scales).get("cfg") for sampling in samplings}
    is_plain = all(sampling.guider in PLAIN_GUIDERS for sampling in samplings)
    known = condition.steps is not None
    return replace(
        condition,
        width_px=condition.width_px or last.width_px,
        height_px=condition.height_px or last.height_px,
        batch_size=condition.batch_size or last.batch_size,
        frames=condition.frames or last.frames,
        steps=condition.steps if known else sum(sampling.steps for sampling in samplings),
        cfg=cfgs.pop() if len(cfgs) == 1 else None,
        guidance=(
            ""
            if is_plain and len({sampling.scales for sampling in samplings}) == 1
            else together(sampling.guidance for sampling in samplings)
        ),
        sampler=condition.sampler or together(sampling.sampler for sampling in samplings),
        work="; ".join(_work(condition, sampling) for sampling in samplings),
    )


def together(names: Iterable[str]) -> str:
    """Names of the parts of one run, each once: ``euler + dpmpp_2m``."""
    return " + ".join(dict.fromkeys(name for name in names if name))


def unlike(samplings: Sequence[Sampling]) -> str:
    """Why a rate over all of a run's steps would mean nothing; empty where it means something."""
    models = dict.fromkeys(sampling.model or sampling.architecture for sampling in samplings)
    if len(models) > 1:
        return f"no rate of steps: the samplings are of different models ({', '.join(models)})"
    if any(sampling.duration_s is None for sampling in samplings):
        return "no rate of steps: a sampling was not seen to denoise"
    return ""


def _has_adaptive_patch(condition: Condition) -> bool:
    names = [entry.partition(" ")[0].lower() for entry in condition.optimizations.split(", ")]
    return any(part in name for part in ADAPTIVE_PATCHES for name in names)


def _work(condition: Condition, sampling: Sampling) -> str:
    """One sampling's forwards, as ``4 evaluations of 2x4x8x8, 77 tokens``."""
    calls = sampling.forwards
    kinds = sorted((kind.label, kind.call_count) for kind in calls)
    if not kinds:
        return f"{sampling.nfe} evaluations, forwards unseen"
    if sampling.sampler in ADAPTIVE_SAMPLERS or _has_adaptive_patch(condition):
        return f"adaptive evaluations of {' and '.join(label for label, _ in kinds)}"
    if len(kinds) == 1 and kinds[0][1] == sampling.nfe:
        return f"{sampling.nfe} evaluations of {kinds[0][0]}"
    counted = " and ".join(f"{count} of {label}" for label, count in kinds)
    return f"{sampling.nfe} evaluations by {counted}"
