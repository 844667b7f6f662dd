"""A run counts only with its picture: compare it with a reference run of the same seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..hosts.comfyui.metric_models import NONE, choices, networks
from ..hosts.comfyui.pictures import Pictures, as_arrays
from ..quality.base import Network
from ..quality.difference import Limits, check_pictures
from ..records import Run
from .types import CATEGORY, Runs


class WattBenchPictureGuard(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchPictureGuard",
            display_name="Picture Guard (WattBench)",
            category=CATEGORY,
            description=(
                "Compares the pictures of a Benchmark with those of a reference Benchmark, seed by "
                "seed, and marks runs whose picture is broken: NaN, black, flat, or too far from "
                "the reference. What a broken picture saves is not shown as a saving."
            ),
            search_aliases=["compare images", "psnr", "ssim", "lpips", "black image"],
            inputs=[
                io.MultiType.Input(
                    "images",
                    types=[io.Image, io.Latent],
                    tooltip="Pictures (or latents) of the runs to check, in the order of repeats.",
                ),
                Runs.Input("runs", tooltip="The runs that made them."),
                io.MultiType.Input(
                    "reference_images",
                    types=[io.Image, io.Latent],
                    tooltip="Pictures (or latents) of the reference.",
                ),
                Runs.Input(
                    "reference_runs",
                    tooltip=(
                        "The reference's runs. Those of another Picture Guard do as well: their "
                        "first condition is the reference, and the others are handed on."
                    ),
                ),
                io.Float.Input(
                    "min_psnr_db",
                    default=Limits.min_psnr_db,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    tooltip=(
                        "PSNR in dB below which a picture is broken. Unrelated pictures have about "
                        "10, good pictures of 4-bit models about 20, other kernels of the same "
                        "precision 30 and more."
                    ),
                ),
                io.Float.Input(
                    "min_ssim",
                    default=Limits.min_ssim,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="SSIM below which a picture is broken. Unrelated ones have about 0.2.",
                ),
                io.Float.Input(
                    "max_lpips",
                    default=Limits.max_lpips,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="LPIPS above which a picture is broken; measured with lpips_model.",
                ),
                io.Combo.Input(
                    "lpips_model",
                    options=choices(),
                    default=NONE,
                    optional=True,
                    tooltip="A folder of models/wattbench_metrics for LPIPS; nothing is fetched.",
                ),
            ],
            outputs=[
                Runs.Output(
                    display_name="runs",
                    tooltip="The reference's runs and the checked ones, for one table.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Any,
        runs: tuple[Run, ...],
        reference_images: Any,
        reference_runs: tuple[Run, ...],
        lpips_model: str = NONE,
        **limits: float,
    ) -> io.NodeOutput:
        first = [run for run in reference_runs if run.condition == reference_runs[0].condition]
        pictures, references = as_arrays(images, reference_images)
        checked = check_runs(
            by_seed(runs, pictures, "runs"),
            by_seed(first, references, "reference_runs"),
            Limits(**limits),
            networks({"lpips": lpips_model}).get("lpips"),
        )
        return io.NodeOutput((*reference_runs, *(checked.get(run.run_id, run) for run in runs)))


Key = tuple[str, int | None]
"""Prompt and seed, of which a condition makes one picture."""


def by_seed(runs: Any, pictures: Pictures, name: str) -> dict[Key, tuple[Run, Pictures]]:
    """The run of each prompt and seed with its pictures; warm-ups and failed runs have none.

    Raises:
        ValueError: the pictures are not those of the runs, by their number.
    """
    made = [run for run in runs if not run.is_warmup and not run.error]
    sizes = [run.condition.batch_size or 1 for run in made]
    if sum(sizes) != len(pictures):
        raise ValueError(
            f"{name} made {sum(sizes)} pictures, but {len(pictures)} are connected. Connect images "
            "and runs of the same Benchmark."
        )
    found, start = {}, 0
    for run, size in zip(made, sizes, strict=True):
        found[run.prompt, run.seed] = (run, pictures[start : start + size])
        start += size
    return found


def check_runs(
    treatment: dict[Key, tuple[Run, Pictures]],
    reference: dict[Key, tuple[Run, Pictures]],
    limits: Limits,
    lpips: Network | None = None,
) -> dict[str, Run]:
    """The runs that have a reference of their prompt and seed, with their check, by id.

    Raises:
        ValueError: no seed in common, or sizes that differ.
    """
    common = [key for key in treatment if key in reference]
    if treatment and not common:
        seeds = [sorted({str(seed) for _, seed in arm}) for arm in (treatment, reference)]
        what = "prompt" if seeds[0] == seeds[1] else "seed"
        raise ValueError(
            f"no {what} in common (seeds {seeds[0]} and {seeds[1]}). Give both Benchmarks the same "
            "prompts and seed."
        )
    distance = None if lpips is None else lpips.value
    checked = {}
    for key in common:
        run, pictures = treatment[key]
        origin, references = reference[key]
        check = check_pictures(references, pictures, origin.run_id, limits, distance)
        sha256 = run.picture.sha256 if run.picture else ""
        checked[run.run_id] = replace(run, picture=replace(check, sha256=sha256))
    return checked


NODES: list[type[io.ComfyNode]] = [WattBenchPictureGuard]
