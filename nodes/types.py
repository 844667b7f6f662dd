"""The types that flow between WattBench nodes, and the input that all measuring nodes share."""

from __future__ import annotations

from collections.abc import Callable

from comfy_api.latest import io

from ..hosts.comfyui.incoming import checked_meter

CATEGORY = "WattBench"

Calibration = io.Custom("WATTBENCH_CALIBRATION")
"""A :class:`..quant.calibrate.Calibration`."""

Forecast = io.Custom("WATTBENCH_FORECAST")
"""A :class:`..measure.law.Forecast`."""

Probe = io.Custom("WATTBENCH_PROBE")
"""What a measured node saw; see :class:`.observation.Probe`."""

Prompts = io.Custom("WATTBENCH_PROMPTS")
"""A :class:`..quality.prompts.PromptSet`."""

Runs = io.Custom("WATTBENCH_RUNS")
"""A tuple of :class:`..measure.records.Run`."""


def refused(check: Callable[[], object]) -> bool | str:
    """What ``validate_inputs`` answers: why ``check`` raised ValueError, or that all is well.

    So a name that cannot be used is told before anything of the prompt runs. What comes out of
    another node is not known then, and is looked at by the node itself.
    """
    try:
        check()
    except ValueError as error:
        return str(error)
    return True


class MeteredNode(io.ComfyNode):
    """A node with :func:`meter_input`, which is looked at before anything runs."""

    @classmethod
    def validate_inputs(cls, meter: str = "auto") -> bool | str:
        return refused(lambda: checked_meter(meter))


def meter_input() -> io.Input:
    return io.String.Input(
        "meter",
        default="auto",
        optional=True,
        tooltip=(
            "Energy meter: auto, or a name as `wattbench doctor` lists it (nvml:0, estimate, "
            "replay:FILE), or several, as auto+rapl: the first is the run's, the others are of "
            "another scope. auto means what the environment variable WATTBENCH_METER says, else a "
            "meter that covers the device; without one, energy stays blank and says why."
        ),
    )


def calibration_input() -> io.Input:
    return Calibration.Input(
        "calibration", optional=True, tooltip="From Calibrate. fp8_static takes its scales of it."
    )
