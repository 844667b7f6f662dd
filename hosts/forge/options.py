"""What is asked of one generation in the accordion, over the API, or by an axis of a grid."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from modules import shared

from ...attention.plan import Setting
from ...incoming import below, check_file, resolve, shown
from ...measure.meters.replay import MAX_TRACE_BYTES
from .attention import FORGE, attention_choices
from .host import FOLDER_OPTION, HOST, METER_OPTION
from .selection import AS_LOADED, MEMORY_FORMATS
from .storage import AS_SET, storage_names

CHOSEN = "wattbench"
"""The attribute of a generation that holds what axes have chosen for it: a dict by field."""

RANGES: dict[str, tuple[float, float]] = {
    "repeats": (1, 10000),
    "warmups": (0, 1000),
    "idle_s": (0, 600),
    "max_warmup_s": (0, 3600),
    "cooldown_s": (0, 3600),
    "max_error": (0, 1),
}
REPLAY = "replay"


@dataclass(frozen=True)
class Options:
    """In the order of the arguments of ``alwayson_scripts``.

    ``meter`` is the setting's where it is empty. Without ``measure`` a generation is left alone,
    unless it is to be computed in another way than Forge's own.
    """

    measure: bool = True
    benchmark: bool = False
    repeats: int = 10
    warmups: int = 2
    idle_s: float = 5.0
    max_warmup_s: float = 60.0
    cooldown_s: float = 0.0
    meter: str = ""
    attention: str = FORGE
    strict: bool = False
    max_error: float = Setting.max_error
    timed: bool = False
    memory_format: str = AS_LOADED
    weights: str = AS_SET

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything to do while the picture is made."""
        chosen = self.attention != FORGE or self.memory_format != AS_LOADED
        return self.measure or self.benchmark or chosen

    @property
    def setting(self) -> Setting:
        """Of attention."""
        return Setting(self.attention, self.strict, self.max_error, self.timed)

    @property
    def meter_name(self) -> str:
        """Of the meter to open, with the whole path of a recording.

        Raises:
            IncomingError: the recording lies outside of Forge's output folder.
        """
        named = self.meter or shared.opts.data.get(METER_OPTION) or "auto"
        key, colon, name = named.partition(":")
        if key != REPLAY or not colon:
            return str(named)
        output = HOST.output_folder()
        path = resolve(name, (output / "wattbench", output))
        return f"{REPLAY}:{check_file(path, MAX_TRACE_BYTES)}"


def options_of(p: Any, arguments: tuple[Any, ...]) -> Options:
    """What ``arguments`` ask for; missing ones and ``None`` are as by default.

    Raises:
        ValueError: one cannot be; the message names it.
    """
    names = [field.name for field in fields(Options)]
    given = dict(zip(names, arguments, strict=False)) | getattr(p, CHOSEN, {})
    known: dict[str, Any] = {}
    for field in fields(Options):
        value = given.get(field.name)
        if value is not None:
            known[field.name] = _checked(field.name, value, type(field.default))
    return replace(Options(), **known)


def results_folder() -> Path:
    """Where the tables go: the folder of the settings, within Forge's output folder.

    Raises:
        ValueError: it lies outside, or is no name of a folder on every system.
    """
    root = HOST.output_folder().resolve()
    name = str(shared.opts.data.get(FOLDER_OPTION) or "wattbench")
    target = below(name, root)
    if target is None:
        raise ValueError(
            f"the folder {shown(name)} of the settings lies outside of Forge's output folder "
            f"{root}; give a name without '..' or a drive"
        )
    return target


def _checked(name: str, value: Any, kind: type[Any]) -> Any:
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"WattBench: {name} is {value!r:.60}, which is no number")
        low, high = RANGES[name]
        if not low <= value <= high:
            raise ValueError(f"WattBench: {name} is {value}, which is not from {low} to {high}")
        return kind(value)
    if not isinstance(value, kind):
        raise ValueError(f"WattBench: {name} is {value!r:.60}, which is no {kind.__name__}")
    allowed = {
        "attention": attention_choices(),
        "memory_format": list(MEMORY_FORMATS),
        "weights": [AS_SET, *storage_names()],
    }
    if name in allowed and value not in allowed[name]:
        raise ValueError(
            f"WattBench: {name} is {shown(value)}; choose one of {', '.join(allowed[name])}"
        )
    return value
