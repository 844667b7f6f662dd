"""What ``auto`` chose, remembered in a file by hardware, software and shape class."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .auto import Trial
from .base import AttentionCall, describe
from .packages import installed_version

FORMAT = 1
DISTRIBUTIONS = (
    "torch",
    "triton",
    "triton-windows",
    "flash-attn",
    "flash-attn-3",
    "sageattention",
    "sageattn3",
    "xformers",
)
"""The software whose versions a choice depends on."""


def key_of(call: AttentionCall, max_error: float) -> str:
    """The hardware, the software and the shape class of a call, as text."""
    machine = describe(call.machine)
    if call.machine.kind == "cpu":
        machine = f"cpu {platform.processor() or platform.machine()} x{os.cpu_count()}"
    versions = (f"{name} {installed_version(name)}" for name in DISTRIBUTIONS)
    software = ", ".join(text for text in versions if not text.endswith("None"))
    return " | ".join((machine, software, call.label, f"max_error {max_error:g}"))


class Choices:
    """A file of trials by key. A file that cannot be read is measured anew and replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str, backends: Sequence[str]) -> list[Trial] | None:
        """The trials that were made for ``key``, if they are of just these backends.

        Other kernels were available then: of another release of this pack, or before a package
        loaded.
        """
        trials = self._read().get(key, [])
        return trials if [trial.backend for trial in trials] == list(backends) else None

    def put(self, key: str, trials: list[Trial]) -> None:
        """Remember trials; what another process added in between is kept.

        A file that cannot be written costs the memory, not the run: that is logged.
        """
        entries = {**self._read(), key: trials}
        payload = {
            "format": FORMAT,
            "choices": {k: [asdict(trial) for trial in v] for k, v in entries.items()},
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
            temporary.write_text(json.dumps(payload, indent=1), "utf-8")
            temporary.replace(self.path)
        except OSError as error:
            logging.warning("WattBench cannot remember attention choices: %s", error)

    def _read(self) -> dict[str, list[Trial]]:
        try:
            payload: Any = json.loads(self.path.read_text("utf-8"))
            if payload["format"] != FORMAT:
                return {}
            return {
                key: [_trial(**trial) for trial in trials]
                for key, trials in payload["choices"].items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            logging.warning(
                "WattBench cannot read its attention choices in %s (%s: %s) and measures anew",
                self.path,
                type(error).__name__,
                error,
            )
            return {}


def _trial(
    backend: str,
    seconds: float | None,
    host_s: float | None,
    error: float | None,
    refusal: str,
    scatter_s: float = 0.0,
) -> Trial:
    """A trial as the file has it.

    Raises:
        TypeError, ValueError: a value is missing or is no number.
    """
    seconds, host_s, error = (x if x is None else float(x) for x in (seconds, host_s, error))
    return Trial(backend, seconds, host_s, error, refusal, float(scatter_s))
