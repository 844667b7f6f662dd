"""What measured parts of a job see, on its way to a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ... import requirements
from ...host import Host
from ...processes.visit import visit
from ...records import Condition, Environment, PictureCheck, Run
from ..recording.environment import capture, identify
from ..recording.instrument import Instrument, Recording
from ..recording.rhythms import Rhythms
from ..recording.runs import measured_run, new_run
from ..recording.window import Window
from ..recording.work import together

UNKNOWN: dict[str, Any] = {
    field.name: "" if field.type == "str" else None for field in fields(Condition)
}
"""A condition of which nothing is known."""


@dataclass(frozen=True)
class Observation:
    """One recording, where it was made, and what it tells of the condition.

    ``took_s`` is how long the node was busy with it, instrument included.
    """

    job_id: str
    node_id: str
    recording: Recording
    environment: Environment
    facts: dict[str, Any]
    seed: int | None = None
    took_s: float = 0.0


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
    began_s = time.perf_counter()
    with (
        open_instrument(host, device, meter) as (instrument, environment),
        instrument.record() as (window, recording),
    ):
        yield window
    took_s = time.perf_counter() - began_s
    probe.observations.append(
        Observation(host.job_id(), host.node_id(), recording, environment, facts, seed, took_s)
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


@dataclass(frozen=True)
class Made:
    """What a job made, as far as its host can tell; ``batch_size`` counts videos, not frames.

    Where ``sizes_differ`` no size is that of all of them. ``settings`` are those of what else had a
    part in it, ``unmeasured`` names work on it that no observation covers, ``note`` why others are
    missing.
    """

    width_px: int | None = None
    height_px: int | None = None
    batch_size: int | None = None
    frames: int | None = None
    sizes_differ: bool = False
    prompt: str = ""
    settings: str = ""
    sha256: str = ""
    unmeasured: str = ""
    note: str = ""


def join(observations: Sequence[Observation], made: Made | None = None) -> Run:
    """The run that these observations are the parts of, and whose work made ``made``.

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
    made = made or Made()
    facts = {
        **UNKNOWN,
        **{
            name: together(observation.facts.get(name, "") for observation in observations)
            for name, unknown in UNKNOWN.items()
            if unknown == ""
        },
        **{name: getattr(made, name) for name in ("width_px", "height_px", "batch_size", "frames")},
        "optimizations": join_optimizations(
            *(o.facts for o in observations), {"optimizations": made.settings}
        ),
        "prompts": made.prompt,
        "guidance": "",
    }
    steps = [o.facts["steps"] for o in observations if "steps" in o.facts]
    facts["steps"] = sum(steps) if steps else None
    seeds = [observation.seed for observation in observations if observation.seed is not None]
    run = new_run(
        Condition(**facts),
        environments.pop(),
        seed=seeds[0] if seeds else None,
        visit=visit(),
        job_id=observations[0].job_id,
    )
    picture = PictureCheck("", sha256=made.sha256) if made.sha256 else None
    run = replace(run, prompt=made.prompt, picture=picture, unmeasured=made.unmeasured)
    run = measured_run(run, [observation.recording for observation in observations])
    if made.sizes_differ:
        run = replace(run, condition=replace(run.condition, width_px=None, height_px=None))
    notes = [note for note in (run.energy_note, made.note) if note]
    return replace(run, energy_note="; ".join(notes))


def join_optimizations(*facts: dict[str, Any]) -> str:
    """``optimizations`` of a condition whose parts are described by ``facts``."""
    named = (name for part in facts for name in part.get("optimizations", "").split(", "))
    return ", ".join(dict.fromkeys(name for name in named if name))
