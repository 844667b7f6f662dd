"""What the vendors' own command-line tools say of the boards: nvidia-smi and rocm-smi.

They are asked here alone, to cross-check; no measurement rests on them.
"""

from __future__ import annotations

import csv
import json
import math
import subprocess
from collections.abc import Mapping

from ..measure.meters.bounded import NoAnswerError, within
from ..measure.meters.facts import BoardFacts
from ..processes.children import find_program

TIMEOUT_S = 20.0
KILL_S = 5.0
"""A tool that waits within the kernel does not even end when it is killed."""

MIB = 2**20

NVIDIA_FIELDS = (
    "pci.bus_id",
    "name",
    "driver_version",
    "power.draw",
    "power.limit",
    "memory.total",
)
ROCM_OPTIONS = (
    *("--showbus", "--showproductname", "--showdriverversion"),
    *("--showpower", "--showmaxpower", "--showmeminfo", "vram", "--json"),
)
ROCM_NAMES = ("Card Series", "Card series")
ROCM_POWERS = (
    "Current Socket Graphics Package Power (W)",
    "Average Graphics Package Power (W)",
)
"""Keys of rocm-smi's JSON have changed over its versions; the first that is there counts."""


class ToolError(Exception):
    """A tool is absent, failed, or says something unknown; the message says which."""


def nvidia_smi() -> list[BoardFacts]:
    """The boards that nvidia-smi lists, in MiB for memory and watts for power.

    Raises:
        ToolError: it cannot be asked.
    """
    text = _ask(
        "nvidia-smi", f"--query-gpu={','.join(NVIDIA_FIELDS)}", "--format=csv,noheader,nounits"
    )
    facts = []
    for cells in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(cells) != len(NVIDIA_FIELDS):
            raise ToolError(f"nvidia-smi answered {','.join(cells)!r}, which is not understood")
        row = dict(zip(NVIDIA_FIELDS, cells, strict=True))
        memory_mib = _number(row["memory.total"])
        facts.append(
            BoardFacts(
                pci_bus_id=row["pci.bus_id"],
                name=row["name"],
                driver=row["driver_version"],
                power_w=_number(row["power.draw"]),
                power_limit_w=_number(row["power.limit"]),
                memory_bytes=None if memory_mib is None else round(memory_mib) * MIB,
            )
        )
    return facts


def rocm_smi() -> list[BoardFacts]:
    """The boards that rocm-smi lists.

    Raises:
        ToolError: it cannot be asked.
    """
    text = _ask("rocm-smi", *ROCM_OPTIONS)
    try:
        # A warning may come before the document.
        document = json.loads(text[text.find("{") :])
    except (ValueError, RecursionError) as error:
        raise ToolError(f"rocm-smi answered no JSON: {error}") from error
    parts = document.items() if isinstance(document, dict) else ()
    known = {key: _texts(part) for key, part in parts if isinstance(part, dict)}
    driver = known.get("system", {}).get("Driver version", "")
    return [_rocm_card(known[key], driver) for key in sorted(known) if key.startswith("card")]


def _texts(part: Mapping[str, object]) -> dict[str, str]:
    """Its values as text: some versions write numbers as such."""
    return {key: str(value) for key, value in part.items()}


def _rocm_card(card: Mapping[str, str], driver: str) -> BoardFacts:
    memory = _number(card.get("VRAM Total Memory (B)", ""))
    powers = [_number(card[key]) for key in ROCM_POWERS if key in card]
    names = [card[key] for key in ROCM_NAMES if card.get(key, "N/A") != "N/A"]
    return BoardFacts(
        pci_bus_id=card.get("PCI Bus", ""),
        name=names[0] if names else "",
        driver=driver,
        power_w=powers[0] if powers else None,
        power_limit_w=_number(card.get("Max Graphics Package Power (W)", "")),
        memory_bytes=None if memory is None else int(memory),
    )


def _number(text: str) -> float | None:
    """A number, or ``None`` for such as ``[N/A]``."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _ask(tool: str, *options: str) -> str:
    path = find_program(tool)
    if path is None:
        raise ToolError(f"{tool} is not on PATH")

    def answer() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [path, *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_S,
        )

    try:
        done = within(TIMEOUT_S + KILL_S, answer)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{tool} did not answer within {TIMEOUT_S:g} s") from error
    except NoAnswerError as error:
        raise ToolError(
            f"{tool} did not answer within {TIMEOUT_S:g} s and cannot be ended: it waits in the "
            "kernel, as for a board that has fallen off the bus. Restart the machine"
        ) from error
    except OSError as error:
        raise ToolError(f"{tool} cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        raise ToolError(f"{tool} failed (code {done.returncode}): {said or 'it does not say why'}")
    return done.stdout
