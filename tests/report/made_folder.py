"""A folder of results of several conditions, for pages."""

from __future__ import annotations

from dataclasses import replace

from wattbench.records import KernelCalls
from wattbench.report import write_all

from ..made_runs import CONDITION, ENVIRONMENT

UUID = "GPU-12345678-1234-1234-1234-123456789abc"
FACTORS = {"sdpa": 1.0, "sage_2": 0.8, "split": 1.4}
"""How long denoising takes with each attention, in parts of what it takes with the first."""


def made_runs(make_run, seeds=5, model="moth.safetensors", **changes):
    """Runs of three attentions in one process; no two of one attention take equally long."""
    found = []
    for seed in range(seeds):
        for attention, factor in FACTORS.items():
            run = make_run(
                run_id=f"run {len(found)}",
                denoise_s=10 * factor * (1 + 0.01 * (seed * 7 % 5)),
                seed=seed,
                repeat=seed,
                started_at=f"2026-11-20T09:00:{len(found):02}.000+00:00",
                condition=replace(CONDITION, attention=attention, model=model),
                environment=replace(ENVIRONMENT, gpu_uuid=UUID),
                kernel_calls=(KernelCalls("attention", attention, attention, 560),),
                **changes,
            )
            found.append(run)
    return found


def made_folder(make_run, folder, **changes):
    """The tables of :func:`made_runs` in ``folder``, which is returned."""
    write_all(made_runs(make_run, **changes), folder)
    return folder
