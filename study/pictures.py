"""How far a candidate's pictures are from the baseline's, on a scale that a person can read.

The distance of two pictures is the root of the mean square of their differences, values from 0 to
1. Its *floor* is the distance of the same seed made twice, its *ceiling* that of two seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean

import numpy as np

from ..quality.difference import Limits, broken, check_pictures, psnr_db, ssim
from ..records import PictureCheck, Run

FLOORS, SHARE = 2.0, 0.25
"""A candidate may be twice as far as the baseline is from itself, or a quarter of the way to
another seed's picture: an exact kernel with another order of sums is further than the floor of 0
that a deterministic machine has, and still the same picture to the eye."""


@dataclass(frozen=True)
class PictureLimits:
    """What a candidate's pictures must keep; ``None`` leaves a limit out.

    ``lpips`` is what measures that distance (:class:`..quality.lpips.Lpips`).
    """

    min_psnr_db: float | None = None
    min_ssim: float | None = None
    max_lpips: float | None = None
    lpips: Callable[[np.ndarray, np.ndarray], float] | None = None


@dataclass
class Gallery:
    """Pictures of the baseline by seed, and what they say about floor and ceiling."""

    limits: PictureLimits = PictureLimits()
    pictures: dict[int, list[np.ndarray]] = field(default_factory=dict)
    floor: float | None = None
    ceiling: float | None = None

    def add_baseline(self, by_seed: Mapping[int, Sequence[Path]]) -> str:
        """Take the baseline's pictures of a visit; what is broken in them, empty if nothing is."""
        loaded = {seed: load(paths) for seed, paths in by_seed.items()}
        for seed, pictures in loaded.items():
            if seed in self.pictures:
                apart = distance(self.pictures[seed], pictures)
                self.floor = max(apart, self.floor or 0.0)
            else:
                self.pictures[seed] = pictures
        if self.ceiling is None and len(self.pictures) > 1:
            self.ceiling = fmean(distance(a, b) for a, b in combinations(self.pictures.values(), 2))
        return _faults([p for pictures in loaded.values() for p in pictures])

    def fault(self, by_seed: Mapping[int, Sequence[Path]]) -> str:
        """Why a candidate's pictures are not the baseline's; empty where they are."""
        for seed, paths in by_seed.items():
            pictures = load(paths)
            if found := _faults(pictures):
                return found
            reference = self.pictures.get(seed)
            if reference is not None and (found := self._too_far(reference, pictures)):
                return found
        return ""

    def share(self, by_seed: Mapping[int, Sequence[Path]]) -> float | None:
        """The way to another seed's picture that a candidate has gone: 0 same, 1 another."""
        known = [
            distance(self.pictures[seed], load(paths))
            for seed, paths in by_seed.items()
            if seed in self.pictures
        ]
        return fmean(known) / self.ceiling if known and self.ceiling else None

    def _too_far(self, reference: list[np.ndarray], pictures: list[np.ndarray]) -> str:
        if [p.shape for p in reference] != [p.shape for p in pictures]:
            return "its pictures have another size or number"
        apart = distance(reference, pictures)
        if self.ceiling is not None:
            allowed = max(FLOORS * (self.floor or 0.0), SHARE * self.ceiling)
            if apart > allowed:
                return f"its pictures are {apart / self.ceiling:.0%} of the way to another seed's"
        for one, other in zip(reference, pictures, strict=True):
            peak = psnr_db(one, other)
            if self.limits.min_psnr_db is not None and peak < self.limits.min_psnr_db:
                return f"PSNR {peak:.1f} dB is below {self.limits.min_psnr_db:g} dB"
            if self.limits.min_ssim is not None and ssim(one, other) < self.limits.min_ssim:
                return f"SSIM is below {self.limits.min_ssim:g}"
            if self.limits.max_lpips is not None and self.limits.lpips is not None:
                lpips = self.limits.lpips(one, other)
                if not lpips <= self.limits.max_lpips:
                    return f"LPIPS {lpips:.3g} is above {self.limits.max_lpips:g}"
        return ""


def distance(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    """Root mean square difference over all pictures; infinite where their sizes differ."""
    if [p.shape for p in first] != [p.shape for p in second] or not first:
        return math.inf
    squares = [float(np.mean((a - b) ** 2)) for a, b in zip(first, second, strict=True)]
    return math.sqrt(fmean(squares))


def with_distances(runs: Sequence[Run], baseline_of: Mapping[str, str], folder: Path) -> list[Run]:
    """The runs, each with its picture's distance to the baseline's of the same block and seed.

    Distances are of the first picture of a run, by :func:`..quality.difference.check_pictures`.

    Args:
        baseline_of: for each cell the one that it is compared with.
        folder: what the names of the pictures' files begin in.
    """
    references = {
        (run.cell, run.visit, run.seed, run.repeat): run for run in runs if run.picture_file
    }
    known: dict[tuple[str, str], PictureCheck] = {}
    found = []
    for run in runs:
        reference = references.get((baseline_of[run.cell], run.visit, run.seed, run.repeat))
        if reference is not None and reference.cell != run.cell and run.picture_file:
            run = replace(run, picture=_with_distance(reference, run, folder, known))
        found.append(run)
    return found


def _with_distance(
    reference: Run, run: Run, folder: Path, known: dict[tuple[str, str], PictureCheck]
) -> PictureCheck | None:
    """A run's own check with its distance to another's picture; each pair is looked at once."""
    own = run.picture or PictureCheck("")
    before = reference.picture.sha256 if reference.picture else ""
    pair = (before or reference.picture_file, own.sha256 or run.picture_file)
    try:
        if pair not in known:
            first, second = (load([folder / one.picture_file]) for one in (reference, run))
            known[pair] = check_pictures(first, second, reference.run_id, Limits())
    except (OSError, ValueError):
        return run.picture  # The file is gone, or pictures of another size are meant.
    check = known[pair]
    fault = "; ".join(dict.fromkeys(filter(None, (own.fault, check.fault))))
    return replace(check, reference=reference.run_id, fault=fault, sha256=own.sha256)


def load(paths: Sequence[Path]) -> list[np.ndarray]:
    """Pictures as arrays ``[height, width, 3]`` with values from 0 to 1."""
    from PIL import Image

    arrays = []
    for path in paths:
        with Image.open(path) as picture:
            arrays.append(np.asarray(picture.convert("RGB"), dtype=np.float64) / 255)
    return arrays


def _faults(pictures: Sequence[np.ndarray]) -> str:
    return "; ".join(dict.fromkeys(filter(None, map(broken, pictures))))
