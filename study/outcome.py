"""What a search leaves: one sentence, the tuned workflow, tables of all candidates and runs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..processes.signals import held
from ..records import Estimate
from .levels import Levels
from .pictures import with_distances
from .search import BASELINE, Settings, Stage, Verdict
from .tune import LAUNCH, Objective, Tuning, Visit, name_of, value_of

if TYPE_CHECKING:
    import pandas as pd

TUNED = "tuned.json"
WORDS: dict[Objective, str] = {
    "j_per_img": "joules",
    "s_per_img": "seconds",
    "peak_vram": "peak VRAM",
}


@dataclass(frozen=True)
class Candidate:
    """One row of what was tried.

    ``ratio`` is that of the objective to the baseline, from the finals where there were any, else
    from the stage before; ``blocks`` are those behind it. Means are over all prompts that counted.
    ``picture_share`` is the way to another seed's picture, 0 for the same one.
    """

    settings: Settings
    stage: Stage
    ratio: Estimate | None
    time_s: float | None
    energy_j: float | None
    peak_vram_bytes: float | None
    picture_share: float | None
    fault: str

    @property
    def name(self) -> str:
        return name_of(self.settings)


def candidates_of(tuning: Tuning) -> list[Candidate]:
    """Everything that was measured: the baseline, then the best first, what is out at the end."""
    ratios: dict[Settings, tuple[Stage, Estimate]] = {}
    for stage in Stage:
        for settings, ratio in tuning.search.ratios(stage).items():
            ratios[settings] = (stage, ratio)
    found = []
    for settings in dict.fromkeys(visit.settings for visit in tuning.visits):
        visits = [visit for visit in tuning.visits if visit.settings == settings]
        stage, estimate = ratios.get(settings, (visits[-1].stage, None))
        found.append(
            Candidate(
                settings,
                stage,
                estimate,
                _mean(visits, "s_per_img"),
                _mean(visits, "j_per_img"),
                _mean(visits, "peak_vram"),
                max((v.picture_share for v in visits if v.picture_share is not None), default=None),
                tuning.search.faults.get(settings, "") or _baseline_fault(settings, visits),
            )
        )
    return sorted(found, key=_rank)


def sentence(verdict: Verdict, tuning: Tuning) -> str:
    """The verdict in one sentence with its numbers."""
    word = WORDS[tuning.objective]
    ratio = verdict.ratio
    if verdict.winner == BASELINE:
        seen = f" ({_interval(ratio)} x the {word})" if ratio is not None else ""
        return f"Keep what you have, because {verdict.reason}{seen}."
    if ratio is None:
        raise ValueError("a winner has a ratio")
    in_graph = tuple(pair for pair in verdict.winner if pair[0] != LAUNCH)
    launch = tuning.launch_of(verdict.winner)
    do = [f"Set {name_of(in_graph)}"] if in_graph else []
    do += [f"start ComfyUI with {launch}"] if launch else []
    share = max(
        (v.picture_share or 0.0 for v in tuning.visits if v.settings == verdict.winner), default=0.0
    )
    picture = (
        "the same picture"
        if share == 0
        else f"a picture that is {share:.1%} of the way to another seed's"
    )
    what, taken = " and ".join(do), tuning.search.block_count(Stage.FINALS)
    blocks = f"{ratio.n}" if ratio.n == taken else f"{ratio.n} of {taken}"
    return (
        f"{what[0].upper()}{what[1:]}: an image takes {_interval(ratio)} x the {word}, over "
        f"{blocks} blocks, with {picture}."
    )


@held()
def write_outcome(tuning: Tuning, levels: Levels, folder: Path) -> str:
    """Write ``verdict.json``, ``candidates.csv``, ``tuned.json``, tables, page; what to tell.

    ``tuned.json`` is only there if something won that goes into a workflow. Signals wait until all
    are written.

    Raises:
        OSError: the folder cannot be written.
    """
    from ..report import write_all
    from ..report.html import write_page
    from ..tables.csv import write_frame
    from ..tables.files import write_text

    verdict = tuning.search.verdict()
    candidates = candidates_of(tuning)
    text = sentence(verdict, tuning)
    write_frame(candidates_frame(candidates), folder / "candidates.csv")
    summary = {
        "sentence": text,
        "settings": dict(verdict.winner),
        "launch": tuning.launch_of(verdict.winner),
        "objective": tuning.objective,
        "rule": tuning.search.rule.describe(),
        "left_out": [vars(one) for one in levels.left_out],
    }
    write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", folder / "verdict.json")
    runs = tuning.runs()
    page = ""
    if runs:
        baseline_of = dict.fromkeys((run.cell for run in runs), name_of(BASELINE))
        write_all(with_distances(runs, baseline_of, folder), folder)
        page = "\n" + write_page(folder)
    tuned = folder / TUNED
    tuned.unlink(missing_ok=True)
    if any(lever != LAUNCH for lever, _ in verdict.winner):
        workflow = json.dumps(tuning.tuned(verdict.winner), ensure_ascii=False)
        write_text(workflow + "\n", tuned)
    return text + page


def candidates_frame(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """A row for each candidate; blank where nothing was measured."""
    import pandas as pd

    rows: list[dict[str, Any]] = [
        {
            "candidate": one.name,
            "stage": one.stage.value,
            "blocks": one.ratio.n if one.ratio else None,
            "ratio": one.ratio.value if one.ratio else None,
            "ratio_low": _known(one.ratio.ci_low) if one.ratio else None,
            "ratio_high": _known(one.ratio.ci_high) if one.ratio else None,
            "s_per_img": one.time_s,
            "j_per_img": one.energy_j,
            "peak_vram_bytes": one.peak_vram_bytes,
            "picture_share": one.picture_share,
            "fault": one.fault,
        }
        for one in candidates
    ]
    return pd.DataFrame(rows)


def _mean(visits: Sequence[Visit], objective: Objective) -> float | None:
    values = [value_of(prompt, objective) for visit in visits for prompt in visit.prompts]
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _baseline_fault(settings: Settings, visits: Sequence[Visit]) -> str:
    faults = [visit.outcome.fault for visit in visits if visit.outcome.fault]
    return faults[0] if settings == BASELINE and faults else ""


def _rank(candidate: Candidate) -> tuple[bool, bool, float]:
    ratio = candidate.ratio.value if candidate.ratio else math.inf
    return candidate.settings != BASELINE, bool(candidate.fault), ratio


def _interval(ratio: Estimate) -> str:
    if math.isnan(ratio.ci_low):
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.3f} [{ratio.ci_low:.3f}, {ratio.ci_high:.3f}]"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
