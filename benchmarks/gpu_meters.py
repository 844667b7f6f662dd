"""How far a GPU's energy meter can be trusted, and what reading it costs.

    python benchmarks/gpu_meters.py                                      # about two minutes
    python benchmarks/gpu_meters.py --size tiny --cpu --meter estimate   # the same path, anywhere

Samples a synthetic SDXL, so nothing is downloaded. Prints one table and writes figures.csv,
linearity.csv and the raw samples, traces.json: how often the counter ticks and what a read costs,
how far it lags the device, counter against integrated power, energy against the number of steps,
and denoising time with probes against without. It changes no setting of the card.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pack import import_pack
from probe_overhead import overhead, sampling_inputs

SIZES = {"full": (1024, "fp16", (5, 10, 20, 40, 60)), "tiny": (64, "fp32", (4, 8, 12))}
"""Pixels, weight format and step counts."""

SETTINGS = {"cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"}
LAGS_S = np.arange(-0.05, 0.1501, 0.005)
OVERHEAD_STEPS = 30


@dataclass(frozen=True)
class Figure:
    """A line of the table; ``low`` to ``high`` is what ``about`` says."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    about: str


@dataclass(frozen=True)
class Sampling:
    """One denoising: its steps, the recording, and the reading of its energy."""

    steps: int
    recording: Any

    @property
    def phase(self) -> Any:
        return next(phase for phase in self.recording.phases if phase.name == "denoise")


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    wattbench = import_pack()
    args.out.mkdir(parents=True, exist_ok=True)
    folder = wattbench("hosts.remote.server").find_comfyui(args.comfyui)
    base = args.out / "comfyui"
    wattbench("hosts.comfyui.inprocess").load_comfyui(folder, cpu=args.cpu, base_directory=base)
    import torch

    size_px, dtype, step_counts = SIZES[args.size]
    with torch.inference_mode():
        build = wattbench("hosts.comfyui.synthetic").build
        model, clip, _ = build("sdxl", args.size, dtype, 0)
        inputs = sampling_inputs(wattbench, clip, size_px)
        figures = [*watched(wattbench, model.load_device, args)]
        samplings = sample_all(wattbench, model, inputs, args, step_counts)
        figures += [*agreement(samplings), *lags(wattbench, samplings), *linearity(samplings)]
        settings = {**SETTINGS, "steps": OVERHEAD_STEPS if args.size == "full" else step_counts[0]}
        ratio = overhead(wattbench, model, inputs, settings, args.meter, args.pairs)
    about = f"95 %, {ratio.n} pairs that take turns"
    name = "denoising time with probes over without"
    figures.append(Figure(name, ratio.value, ratio.ci_low, ratio.ci_high, "1", about))
    write(figures, samplings, args.out)
    return 0


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--repeats", type=int, default=3, help="of each step count")
    parser.add_argument("--pairs", type=int, default=10, help="for the overhead")
    parser.add_argument("--watch-seconds", type=float, default=5.0, help="the idle meter")
    parser.add_argument("--meter", default="auto", help="as wattbench doctor lists it")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser.add_argument("--out", type=Path, default=Path("output") / "gpu_meters")
    return parser.parse_args(arguments)


def watched(wattbench: Any, device: Any, args: argparse.Namespace) -> Iterator[Figure]:
    """Tick and read of each channel, on the idle device."""
    device_id = wattbench("measure.recording.environment").identify(device)
    meter = wattbench("measure.meters").open_meter(args.meter, device_id)
    try:
        seen = wattbench("measure.meters.refresh").watch_meter(meter, args.watch_seconds)
    finally:
        meter.close()
    nan = float("nan")
    for name, channel in (("counter", seen.counter), ("power", seen.power)):
        if channel is None:
            continue
        about = f"{meter.name} idle for {seen.duration_s:.0f} s"
        yield Figure(f"{name}: a read", channel.read_s * 1e3, nan, nan, "ms", about)
        if channel.refresh_s is not None:
            spread = (channel.refresh_s, channel.refresh_low_s, channel.refresh_high_s)
            values = (seconds * 1e3 for seconds in spread)
            yield Figure(f"{name}: new every", *values, "ms", f"{about}; least, greatest")


def sample_all(
    wattbench: Any,
    model: Any,
    inputs: dict[str, Any],
    args: argparse.Namespace,
    step_counts: Sequence[int],
) -> list[Sampling]:
    """Denoisings of every step count, ``repeats`` times, the counts taking turns."""
    run_core = wattbench("hosts.comfyui.core").run_core
    observe_sampling = wattbench("hosts.comfyui.sampling").observe_sampling
    samplings = []
    with wattbench("measure.protocol.observation").open_instrument(
        wattbench("hosts.comfyui.host").HOST, model.load_device, args.meter
    ) as opened:
        instrument, _ = opened
        for repeat in range(-1, args.repeats):
            for steps in step_counts:
                with instrument.record() as (window, recording):
                    observed = observe_sampling(model, _always(window))
                    settings = {**SETTINGS, **inputs, "seed": max(repeat, 0), "steps": steps}
                    run_core("KSampler", model=observed, **settings)
                if repeat >= 0:
                    samplings.append(Sampling(steps, recording))
    return samplings


def _always(window: Any) -> Any:
    return lambda facts, seed: nullcontext(window)


def agreement(samplings: Sequence[Sampling]) -> Iterator[Figure]:
    """Integrated power over the counter's energy, over denoising."""
    readings = [s.phase.energy for s in samplings if s.phase.energy is not None]
    pairs = [
        (reading.integrated_j, reading.counter_j)
        for reading in readings
        if reading.integrated_j is not None and reading.counter_j is not None
    ]
    if pairs:
        integrated_j, counter_j = np.array(pairs).T
        ratios = integrated_j / counter_j
        total = integrated_j.sum() / counter_j.sum()
        about = f"all {len(pairs)} samplings together; least, greatest of one"
        yield Figure("integrated power over counter", total, ratios.min(), ratios.max(), "1", about)


def lags(wattbench: Any, samplings: Sequence[Sampling]) -> Iterator[Figure]:
    """How much later than the device's own borders the meter sees the load."""
    channels = (("counter", _tick_residual(wattbench)), ("power", _power_residual))
    for name, residual in channels:
        sums = [sum(residual(s.recording, float(lag)) for s in samplings) for lag in LAGS_S]
        if np.isfinite(sums).any():
            best = float(LAGS_S[int(np.nanargmin(sums))])
            near = LAGS_S[np.array(sums) < 1.1 * np.nanmin(sums)]
            about = "best fit of one power per phase; residual within 10 %"
            values = (best * 1e3, near.min() * 1e3, near.max() * 1e3)
            yield Figure(f"{name}: lags the device by", *values, "ms", about)


def _tick_residual(wattbench: Any) -> Any:
    attribution = wattbench("measure.energy.attribution")

    def residual(recording: Any, lag_s: float) -> float:
        """Squared joules that one power per phase leaves unexplained; NaN where ticks lack."""
        ticks = [tick._replace(t_s=tick.t_s - lag_s) for tick in recording.trace.counter]
        intervals = [
            attribution.Interval(p.name, p.start_s, p.start_s + p.duration_s)
            for p in recording.phases
        ]
        try:
            table = attribution.tabulate(ticks, intervals)
        except ValueError:
            return float("nan")
        names = list(dict.fromkeys(i.name for i in intervals))
        seconds = table.segments.by_tick(table.response(names, np.zeros(1)))[0]
        powers, *_ = np.linalg.lstsq(seconds, table.energy_j, rcond=None)
        return float(((seconds @ powers - table.energy_j) ** 2).sum())

    return residual


def _power_residual(recording: Any, lag_s: float) -> float:
    """Squared watts around the means of what lies inside and outside of denoising."""
    phase = next(phase for phase in recording.phases if phase.name == "denoise")
    times = np.array([sample.t_s for sample in recording.trace.power]) - lag_s
    powers = np.array([sample.power_w for sample in recording.trace.power])
    inside = (times >= phase.start_s) & (times < phase.start_s + phase.duration_s)
    parts = [part for part in (powers[inside], powers[~inside]) if len(part)]
    return float(sum(((part - part.mean()) ** 2).sum() for part in parts)) if parts else np.nan


def linearity(samplings: Sequence[Sampling]) -> Iterator[Figure]:
    """A straight line of denoising energy against steps."""
    from scipy.stats import linregress

    pairs = [(s.steps, s.phase.energy.energy_j) for s in samplings if s.phase.energy is not None]
    if not pairs:
        return
    steps, joules = np.array(pairs, dtype=float).T
    line = linregress(steps, joules)
    counts = ", ".join(str(int(count)) for count in sorted(set(steps)))
    nan = float("nan")
    yield Figure(
        "energy against steps: R²",
        line.rvalue**2,
        nan,
        nan,
        "1",
        f"{counts} steps, n = {len(steps)}",
    )
    error = 1.96 * line.stderr
    low, high = line.slope - error, line.slope + error
    yield Figure("energy of a step", line.slope, low, high, "J", "slope, 95 %")
    error = 1.96 * line.intercept_stderr
    low, high = line.intercept - error, line.intercept + error
    yield Figure("energy of no step", line.intercept, low, high, "J", "intercept, 95 %")


def write(figures: Sequence[Figure], samplings: Sequence[Sampling], folder: Path) -> None:
    """Print the table and write both files."""
    import pandas as pd

    table = pd.DataFrame([vars(figure) for figure in figures])
    table.to_csv(folder / "figures.csv", index=False)
    rows = [
        {
            "steps": sampling.steps,
            "time_s": sampling.phase.duration_s,
            "energy_j": sampling.phase.energy.energy_j if sampling.phase.energy else None,
            "integrated_j": sampling.phase.energy.integrated_j if sampling.phase.energy else None,
            "energy_note": sampling.recording.energy_note,
            "flags": "; ".join(sampling.recording.board.flags),
        }
        for sampling in samplings
    ]
    pd.DataFrame(rows).to_csv(folder / "linearity.csv", index=False)
    raw = [
        {"steps": s.steps, "phases": s.recording.phases, "trace": s.recording.trace}
        for s in samplings
    ]
    (folder / "traces.json").write_text(json.dumps(raw, default=asdict), "utf-8")
    print(table.to_string(index=False, float_format="{:.5g}".format, na_rep=""))
    print(folder / "figures.csv", folder / "linearity.csv", sep="\n")


if __name__ == "__main__":
    sys.exit(main())
