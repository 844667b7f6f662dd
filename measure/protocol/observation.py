"""What measured parts of a job see, on its way to a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ... import requirements
from ...host import Host
from ...processes.visit import visit
from ...records import Condition, Environment, Run
from ..recording.environment import capture, identify
from ..recording.instrument import Instrument, Recording
from ..recording.rhythms import Rhythms
from ..recording.runs import measured_run, new_run
from ..recording.window import Window

UNKNOWN: dict[str, Any] = {
    field.name: "" if field.type == "str" else None for field in fields(Condition)
}
"""A condition of which nothing is known."""


@dataclass(frozen=True)
class Observation:
    """One recording, where it was made, and what it tells of the condition."""

    job_id: str
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
    host: Host, device: Any, meter: str, check: Callable[[], None] | None = None
) -> Iterator[tuple[Instrument, Environment]]:
    """An instrument for a torch device, and the environment that it measures in.

    The host keeps how the meters' counters ticked, for the next instrument. ``check`` ends a wait
    for the meter by what it raises; by default the host's cancellation does.

    Raises:
        MeterUnavailableError: a meter asked for by name cannot be opened.
        PackagesMissingError: the tables could not be made of what is measured.
    """
    requirements.check()
    device_id = identify(device)
    check = check or host.stop_if_cancelled
    with Instrument(device, device_id, meter, host.kept(Rhythms), check) as instrument:
        yield instrument, capture(device_id, instrument.meter, host.name, host.version)


@contextmanager
def observe(
    host: Host,
    probe: Probe,
    device: Any,
    meter: str,
    facts: dict[str, Any],
    seed: int | None = None,
) -> Iterator[Window]:
    """A window whose recording becomes an observation of ``probe`` when it is left."""
    with open_instrument(host, device, meter) as (instrument, environment):
        with instrument.record() as (window, recording):
            yield window
        probe.observations.append(
            Observation(host.job_id(), host.node_id(), recording, environment, facts, seed)
        )


def seen_in(job_id: str, node_ids: set[str], probes: Iterable[Probe]) -> list[Observation]:
    """What ``probes`` saw in a job of ``node_ids``, without phases that were cached in part.

    A node that ran in an earlier job and not in this one came from the host's cache. Where
    another node ran the same phase, one of two samplers for example, its part is not the phase.
    """
    own = [o for probe in probes for o in probe.observations if o.node_id in node_ids]
    seen = [o for o in own if o.job_id == job_id]
    ran = {o.node_id for o in seen}
    cached = {p.name for o in own if o.node_id not in ran for p in o.recording.phases}
    return [_without(o, cached - {"load"}) for o in seen]


def _without(observation: Observation, cached: set[str]) -> Observation:
    recording, host = observation.recording, observation.environment.host
    kept = tuple(phase for phase in recording.phases if phase.name not in cached)
    left_out = [phase.name for phase in recording.phases if phase.name in cached]
    notes = [f"a part of {name} came from {host}'s cache" for name in dict.fromkeys(left_out)]
    note = "; ".join(filter(None, [*notes, recording.energy_note]))
    return replace(observation, recording=replace(recording, phases=kept, energy_note=note))


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
        visit=visit(),
        job_id=observations[0].job_id,
    )
    return measured_run(run, [observation.recording for observation in observations])


def join_optimizations(*facts: dict[str, Any]) -> str:
    """``optimizations`` of a condition whose parts are described by ``facts``."""
    named = (part.get("optimizations", "") for part in facts)
    return ", ".join(dict.fromkeys(name for name in named if name))
