"""What measured nodes see, on its way to a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import comfy.model_management as management

from ...measure.recording.environment import capture, identify
from ...measure.recording.instrument import Instrument, Recording
from ...measure.recording.rhythms import Rhythms
from ...measure.recording.runs import measured_run, new_run
from ...measure.recording.window import Window
from ...records import Condition, Environment, Run
from . import workspace
from .describe import join_optimizations
from .rhythms import known_rhythms

UNKNOWN: dict[str, Any] = {
    field.name: "" if field.type == "str" else None for field in fields(Condition)
}
"""A condition of which nothing is known."""


@dataclass(frozen=True)
class Observation:
    """One recording, where it was made, and what it tells of the condition."""

    prompt_id: str
    node_id: str
    recording: Recording
    environment: Environment
    facts: dict[str, Any]
    seed: int | None = None


@dataclass
class Probe:
    """Observations, in order; a probe on a model gains one with every sampling."""

    observations: list[Observation] = field(default_factory=list)


@contextmanager
def open_instrument(
    device: Any,
    meter: str,
    rhythms: Rhythms | None = None,
    check: Callable[[], None] = management.throw_exception_if_processing_interrupted,
) -> Iterator[tuple[Instrument, Environment]]:
    """An instrument for a torch device, and the environment it measures in.

    ``rhythms`` are those of counters that were watched before; by default the running server's.
    ``check`` ends a wait for the meter where the user has cancelled.
    """
    device_id = identify(device)
    with Instrument(device, device_id, meter, rhythms or known_rhythms(), check) as instrument:
        yield (
            instrument,
            capture(device_id, instrument.meter, workspace.HOST, workspace.host_version()),
        )


@contextmanager
def observe(
    probe: Probe, device: Any, meter: str, facts: dict[str, Any], seed: int | None = None
) -> Iterator[Window]:
    """A window whose recording becomes an observation of ``probe`` when it is left."""
    with open_instrument(device, meter) as (instrument, environment):
        with instrument.record() as (window, recording):
            yield window
        prompt_id, node_id = workspace.current_prompt_id(), workspace.current_node_id()
        probe.observations.append(
            Observation(prompt_id, node_id, recording, environment, facts, seed)
        )


def seen_in(prompt_id: str, node_ids: set[str], probes: Iterable[Probe]) -> list[Observation]:
    """What ``probes`` saw in a prompt of ``node_ids``, without phases that were cached in part.

    A node that ran in an earlier prompt and not in this one came from ComfyUI's cache. Where
    another node ran the same phase, one of two samplers for example, its part is not the phase.
    """
    own = [o for probe in probes for o in probe.observations if o.node_id in node_ids]
    seen = [o for o in own if o.prompt_id == prompt_id]
    ran = {o.node_id for o in seen}
    cached = {p.name for o in own if o.node_id not in ran for p in o.recording.phases}
    return [replace(o, recording=_without(o.recording, cached - {"load"})) for o in seen]


def _without(recording: Recording, cached: set[str]) -> Recording:
    kept = tuple(phase for phase in recording.phases if phase.name not in cached)
    left_out = [phase.name for phase in recording.phases if phase.name in cached]
    notes = [f"a part of {name} came from ComfyUI's cache" for name in dict.fromkeys(left_out)]
    note = "; ".join(filter(None, [*notes, recording.energy_note]))
    return replace(recording, phases=kept, energy_note=note)


def join(observations: Sequence[Observation]) -> Run:
    """The run that these observations are the parts of.

    Raises:
        ValueError: they come from different devices.
    """
    environments = {observation.environment for observation in observations}
    if len(environments) > 1:
        names = ", ".join(sorted(e.gpu_name or e.cpu_name for e in environments))
        raise ValueError(
            f"the probed nodes ran on different devices ({names}), whose costs are not one run's. "
            "Collect them apart, or put the models on one device."
        )
    facts = dict(UNKNOWN)
    for observation in observations:
        facts.update((name, value) for name, value in observation.facts.items() if not facts[name])
    facts["optimizations"] = join_optimizations(*(o.facts for o in observations))
    seeds = [observation.seed for observation in observations if observation.seed is not None]
    run = new_run(
        Condition(**facts),
        environments.pop(),
        seed=seeds[0] if seeds else None,
        visit=workspace.visit(),
        prompt_id=observations[0].prompt_id,
    )
    return measured_run(run, [observation.recording for observation in observations])
