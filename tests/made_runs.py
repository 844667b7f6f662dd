"""Runs to make tables of, and time that passes at a call."""

from dataclasses import replace

import pytest

from wattbench.records import (
    Condition,
    EnergyReading,
    Environment,
    MemoryReading,
    Phase,
    PowerSample,
    Run,
    Sampling,
    Trace,
)

from .simulated_board import SimulatedTime

CONDITION = Condition(
    architecture="sdxl",
    model="moth.safetensors",
    weights="file",
    attention="sdpa",
    weight_format="fp16",
    width_px=1024,
    height_px=768,
    batch_size=2,
    steps=30,
    cfg=7.0,
    sampler="euler",
    scheduler="normal",
)
ENVIRONMENT = Environment(
    gpu_name="NVIDIA GeForce RTX 3090",
    gpu_uuid="GPU-1",
    compute_capability="8.6",
    driver="580.65",
    runtime="cuda 13.0",
    torch="2.11.0",
    host="ComfyUI",
    host_version="0.30.0",
    pack="0.1.0",
    git_commit="",
    python="3.11.7",
    os="Linux",
    cpu_name="AMD Ryzen 7 5700X",
    power_limit_w=350.0,
)
DURATIONS = {"load": 1.0, "text_encode": 0.5, "denoise": 10.0, "decode": 1.5}


def sampling_of(condition, duration_s=10.0):
    """The sampling of a condition, made as it was asked for."""
    return Sampling(
        architecture=condition.architecture,
        model=condition.model,
        sampler=condition.sampler,
        guider="CFGGuider",
        scales=(("cfg", condition.cfg),),
        width_px=condition.width_px,
        height_px=condition.height_px,
        batch_size=condition.batch_size,
        frames=1,
        steps=condition.steps,
        steps_made=condition.steps,
        nfe=condition.steps,
        duration_s=duration_s,
    )


def reading(duration_s, power_w=200.0, meter="nvml:0", method="counter"):
    return EnergyReading(power_w * duration_s, duration_s, meter, "gpu", method, 20.0, 100)


def make_phases(denoise_s=10.0, **energy):
    durations = {**DURATIONS, "denoise": denoise_s}
    phases, at_s = [], 0.0
    for name, duration_s in durations.items():
        nfe = 30 if name == "denoise" else None
        phases.append(Phase(name, at_s, duration_s, reading(duration_s, **energy), (), nfe))
        at_s += duration_s
    return tuple(phases)


def made_run(run_id="run", denoise_s=10.0, meter="nvml:0", **changes):
    """A run of 12 s at 200 W, varied by keywords."""
    total = DURATIONS["text_encode"] + denoise_s + DURATIONS["decode"]
    run = Run(
        run_id=run_id,
        started_at="2026-11-20T09:00:00.000+00:00",
        condition=CONDITION,
        environment=ENVIRONMENT,
        seed=2**63 + 1,
        visit=1,
        repeat=0,
        is_warmup=False,
        phases=make_phases(denoise_s, meter=meter),
        wall_time_s=total + 1.2,
        energy=reading(total, meter=meter),
        idle_power_w=30.0,
        vram=MemoryReading(10 * 2**30, 9.0 * 2**30, f"{meter}, whole device, sampled", 600),
        allocator_peak_bytes=8 * 2**30,
        rss=MemoryReading(2**30, 2.0**29, "resident set of the process, sampled", 600),
        trace=Trace(power=(PowerSample(0.0, 200.0),)),
    )
    if "process_id" not in changes:
        changes["process_id"] = f"visit {changes.get('visit', 1)}"
    condition = changes.get("condition", CONDITION)
    if "samplings" not in changes and condition.steps:
        changes["samplings"] = (sampling_of(condition, denoise_s),)
    return replace(run, **changes)


@pytest.fixture(scope="session")
def make_run():
    """:func:`made_run`."""
    return made_run


@pytest.fixture
def simulated_time(monkeypatch):
    """The time that the sampler sees."""
    clock = SimulatedTime()
    for module in ("recording.sampler", "meters.timed_read"):
        monkeypatch.setattr(f"wattbench.measure.{module}.time", clock)
    return clock
