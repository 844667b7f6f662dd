"""Do the vendors' tools and the libraries that WattBench reads say the same of each board?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..measure.meters import MeterUnavailableError
from ..measure.meters.bounded import OPEN_S, NoAnswerError, within
from ..measure.meters.facts import BoardFacts, amdgpu_facts, amdsmi_facts, nvml_facts
from ..measure.meters.identity import pci_key
from .vendor_tools import MIB, ToolError, nvidia_smi, rocm_smi

Source = tuple[str, Callable[[], list[BoardFacts]]]

CHECKS: tuple[tuple[Source, Source], ...] = (
    (("nvidia-smi", nvidia_smi), ("NVML", nvml_facts)),
    (("rocm-smi", rocm_smi), ("AMD SMI", amdsmi_facts)),
    (("rocm-smi", rocm_smi), ("the kernel's files", amdgpu_facts)),
)
"""A tool, and what WattBench reads itself."""

POWER_SHARE, POWER_W = 0.15, 10.0
"""Two readings of power are of different moments: they agree within this share, or these watts."""


def crosscheck() -> Iterator[str]:
    """Lines that say for each board and fact whether the two sources agree."""
    absent: list[str] = []
    for (tool, ask_tool), (library, ask_library) in CHECKS:
        try:
            theirs = ask_tool()
        except ToolError as error:
            if str(error) not in absent:
                absent.append(str(error))
                yield f"  {error}"
            continue
        try:
            ours = within(OPEN_S, ask_library)
        except (MeterUnavailableError, NoAnswerError) as error:
            reason = getattr(error, "reason", error)
            yield f"  {tool} lists {_count(theirs)}, {library} cannot be asked: {reason}"
            continue
        yield from _boards(tool, theirs, library, ours)


def _boards(
    tool: str, theirs: list[BoardFacts], library: str, ours: list[BoardFacts]
) -> Iterator[str]:
    own = {pci_key(facts.pci_bus_id): facts for facts in ours}
    if len(theirs) != len(ours):
        yield f"  {tool} lists {_count(theirs)}, {library} {_count(ours)}"
    for facts in theirs:
        same = own.get(pci_key(facts.pci_bus_id))
        if same is None:
            yield f"  {tool} lists a board at {facts.pci_bus_id} that {library} does not"
            continue
        yield f"  {facts.pci_bus_id}: {tool} against {library}"
        yield from differences(facts, same)


def differences(theirs: BoardFacts, ours: BoardFacts) -> Iterator[str]:
    """A line for each fact: that both agree, the two values, or that one does not tell."""
    for label, name, agree, show in FACTS:
        told, read = getattr(theirs, name), getattr(ours, name)
        if told in ("", None) or read in ("", None):
            answer = "not compared: one of them does not tell"
        elif agree(told, read):
            answer = f"agree: {show(told)}"
        else:
            answer = f"DIFFER: {show(told)} and {show(read)}"
        yield f"    {label:7} {answer}"


def _same_text(told: str, read: str) -> bool:
    return told.strip().casefold() == read.strip().casefold()


def _same_power(told: float, read: float) -> bool:
    return abs(told - read) <= max(POWER_W, POWER_SHARE * max(told, read))


def _same_limit(told: float, read: float) -> bool:
    return abs(told - read) <= 1


def _same_memory(told: int, read: int) -> bool:
    """Tools round to MiB."""
    return abs(told - read) <= MIB


def _watts(power_w: float) -> str:
    return f"{power_w:.1f} W"


def _mebibytes(count: int) -> str:
    return f"{count / MIB:.1f} MiB"


def _count(facts: list[BoardFacts]) -> str:
    return f"{len(facts)} board{'' if len(facts) == 1 else 's'}"


FACTS: tuple[tuple[str, str, Callable[[Any, Any], bool], Callable[[Any], str]], ...] = (
    ("name", "name", _same_text, str),
    ("driver", "driver", _same_text, str),
    ("power", "power_w", _same_power, _watts),
    ("limit", "power_limit_w", _same_limit, _watts),
    ("memory", "memory_bytes", _same_memory, _mebibytes),
)
"""Label, field, when two values agree, and how one is shown."""
