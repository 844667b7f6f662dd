"""What measured nodes see, on its way to a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..measure.environment import capture, identify
from ..measure.instrument import Instrument, Recording
from ..measure.records import Condition, Environment, Run
from ..measure.rhythms import Rhythms
from ..measure.runs import make_run
from ..measure.window import Window
from .host import workspace
from .host.describe import join_optimizations
from .host.rhythms import known_rhythms

UNKNOWN: dict[str, Any] = {
    field.name: "" if field.type == "str" else None for field in fields(Condition)
}
"""A condition of which nothing is known."""


@dataclass(frozen=True)
class Observation:
    """One recording, the prompt that it was made in, and what it tells of the condition."""

    prompt_id: str
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
    device: Any, meter: str, rhythms: Rhythms | None = None
) -> Iterator[tuple[Instrument, Environment]]:
    """An instrument for a torch device, and the environment it measures in.

    ``rhythms`` are those of counters that were watched before; by default the running server's.
    """
    device_id = identify(device)
    with Instrument(device, device_id, meter, rhythms or known_rhythms()) as instrument:
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
        probe.observations.append(
            Observation(workspace.current_prompt_id(), recording, environment, facts, seed)
        )


def seen_in(prompt_id: str, probes: Iterable[Probe]) -> list[Observation]:
    """What ``probes`` saw in a prompt, without phases of which ComfyUI's cache had a part.

    A measured node that came from the cache has observations of earlier prompts only. Where another
    node ran the same phase, one of two text encoders for example, its part is not the phase.
    """
    seen, elsewhere = [], set()
    for probe in probes:
        here = [o for o in probe.observations if o.prompt_id == prompt_id]
        seen += here
        if not here:
            elsewhere |= {p.name for o in probe.observations for p in o.recording.phases}
    elsewhere -= {"load"}
    return [replace(o, recording=_without(o.recording, elsewhere)) for o in seen]


def _without(recording: Recording, names: set[str]) -> Recording:
    kept = tuple(phase for phase in recording.phases if phase.name not in names)
    return replace(recording, phases=kept)


def join(observations: Sequence[Observation], repeat: int = 0) -> Run:
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
    return make_run(
        [observation.recording for observation in observations],
        Condition(**facts),
        environments.pop(),
        seed=seeds[0] if seeds else None,
        visit=workspace.visit(),
        repeat=repeat,
    )
