"""What of a run is shared: a list of what may be, not of what may not.

Host, user, paths, addresses and serial numbers are in none of it, nor is the text of a prompt.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from ..records import Environment, Run, short_hash

RUN_FIELDS = frozenset(
    re.findall(
        r"\w+",
        """
        run_id started_at seed visit repeat is_warmup study cell prompt process_id
        condition environment samplings kernel_calls picture board trace beside_traces
        phases wall_time_s energy energy_note predicted_energy beside_meters pue
        idle_power_w idle_power_before_w idle_power_after_w
        vram vram_note rss allocator_peak_bytes allocator_mean_bytes allocator_source
        error unmeasured not_counted quality
        """,
    )
)
"""Fields of a run that are shared; every other one is blank in a bundle."""

WITHHELD = frozenset({"job_id", "picture_file"})
"""Fields that are not. A new field of a run belongs into one of the two."""

HASHED = {"gpu_uuid": "card", "process_id": "process"}
"""What tells machines apart becomes a word and a hash, the same in every bundle: the runs of one
card are of one card, and nobody learns its serial number."""

HASH_DIGITS = 16
QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")


def shareable(run: Run, scrub: Callable[[str], str]) -> Run:
    """The run as others may see it, its texts as ``scrub`` leaves them.

    Of a run that is shareable already, the same.
    """
    kept = {name: getattr(run, name) for name in RUN_FIELDS}
    told = {name: _told(value, scrub) for name, value in kept.items()}
    told["environment"] = _environment(told["environment"])
    told["process_id"] = hashed("process_id", run.process_id)
    told["run_id"], told["started_at"] = run.run_id, run.started_at
    # What fails may quote what it was given, a prompt for one.
    told["error"] = QUOTED.sub("'…'", told["error"])
    return Run(**told)


def hashed(column: str, value: str) -> str:
    """The word for a value of one of the columns :data:`HASHED`; blank stays blank."""
    word = HASHED[column]
    if not value or re.fullmatch(rf"{word} [0-9a-f]{{{HASH_DIGITS}}}", value):
        return value
    return f"{word} {short_hash([column, value], HASH_DIGITS)}"


def _environment(environment: Environment) -> Environment:
    return dataclasses.replace(environment, gpu_uuid=hashed("gpu_uuid", environment.gpu_uuid))


def _told(value: Any, scrub: Callable[[str], str]) -> Any:
    """The value with every text in it scrubbed, but for what has a pseudonym of its own."""
    if isinstance(value, str):
        return scrub(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: _told(getattr(value, field.name), scrub)
            for field in dataclasses.fields(value)
            if field.name not in HASHED
        }
        return dataclasses.replace(value, **changes)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_told(one, scrub) for one in value)
    return value
