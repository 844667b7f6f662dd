"""Results of made-up runs, as Show Summary is given them."""

from __future__ import annotations

import json
from dataclasses import replace

from wattbench.report.shown import summary_shown

from ..made_runs import CONDITION, make_run


def compared(factor=0.5, **changes):
    """Two conditions as Show Summary is given them; the second denoises ``factor`` as long."""
    make = make_run._get_wrapped_function()()
    runs = []
    for seed in range(4):
        for attention, share in {"sdpa": 1.0, "sage_2": factor}.items():
            condition = replace(CONDITION, attention=attention)
            denoise_s = 10 * share + 0.01 * seed
            name = f"{attention} {seed}"
            run = make(name, denoise_s, seed=seed, condition=condition, **changes)
            runs.append(replace(run, board=replace(run.board, vram_total_bytes=24 * 2**30)))
    return json.loads(json.dumps(summary_shown(runs)))


def unmeasured(reason):
    """A condition without energy."""
    run = make_run._get_wrapped_function()()(energy=None, energy_note=reason, idle_power_w=None)
    phases = tuple(replace(phase, energy=None) for phase in run.phases)
    return json.loads(json.dumps(summary_shown([replace(run, phases=phases)])))


def failed(error):
    """A condition of which three runs failed."""
    make = make_run._get_wrapped_function()()
    runs = [make(f"{n}", error=error, phases=(), energy=None, vram=None) for n in range(3)]
    return json.loads(json.dumps(summary_shown(runs)))
