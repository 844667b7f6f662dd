"""The types that flow between WattBench nodes, and the input that all measuring nodes share."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "WattBench"

Calibration = io.Custom("WATTBENCH_CALIBRATION")
"""A :class:`..quant.calibrate.Calibration`."""

Forecast = io.Custom("WATTBENCH_FORECAST")
"""A :class:`..measure.law.Forecast`."""

Probe = io.Custom("WATTBENCH_PROBE")
"""What a measured node saw; see :class:`.observation.Probe`."""

Runs = io.Custom("WATTBENCH_RUNS")
"""A tuple of :class:`..measure.records.Run`."""


def meter_input() -> io.Input:
    return io.String.Input(
        "meter",
        default="auto",
        optional=True,
        tooltip=(
            "Energy meter: auto, or a name as `wattbench doctor` lists it (nvml:0, estimate, "
            "replay:FILE). auto means what the environment variable WATTBENCH_METER says, else a "
            "meter that covers the device; without one, energy stays blank and says why."
        ),
    )


def calibration_input() -> io.Input:
    return Calibration.Input(
        "calibration", optional=True, tooltip="From Calibrate. fp8_static takes its scales of it."
    )
