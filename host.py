"""What a host program has to answer, and the plainest of hosts: a script or a notebook.

A host is what the pack runs in. All that measuring needs of it stands in :class:`Host`, so that the
protocol is the same in ComfyUI, in another program, and in none.
"""

from __future__ import annotations

import gc
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

Kept = TypeVar("Kept")


class Host(Protocol):
    """The program that the pack runs in."""

    @property
    def name(self) -> str:
        """The program's name, as it stands in tables."""
        ...

    @property
    def version(self) -> str:
        """The program's version; empty where it has none."""
        ...

    def job_id(self) -> str:
        """The job that this thread works on now; empty outside of one."""
        ...

    def node_id(self) -> str:
        """The part of that job that runs now; empty where a job has no parts."""
        ...

    def device(self) -> Any:
        """The torch device that the program computes on."""
        ...

    def rest(self, seconds: float) -> None:
        """Do nothing for so long; raises what :meth:`stop_if_cancelled` does, as soon as it can."""
        ...

    def stop_if_cancelled(self) -> None:
        """Raise the program's own interruption where the user has cancelled the job.

        It must be none of :data:`.measure.protocol.experiment.RUN_FAILURES`: it ends the
        experiment, a failure does not.
        """
        ...

    def output_folder(self) -> Path:
        """Where the program's results go."""
        ...

    def user_folder(self) -> Path:
        """Where what outlives a session goes, if ``output_folder`` cannot be written."""
        ...

    def show(self, text: str) -> None:
        """Tell the user how far the job is; what was shown before is replaced."""
        ...

    def free_memory(self) -> None:
        """Give back what a failed run holds, so that the next one can succeed."""
        ...

    def kept(self, kind: Callable[[], Kept]) -> Kept:
        """The one object of a kind that lives as long as the program; made when first asked for."""
        ...


class Script:
    """A Python process of its own: a script, a notebook, a test.

    Cancelling is Ctrl-C, which Python raises by itself. ``folder`` is where files go.
    """

    name = "Python"

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self._folder = folder
        self._device = device
        self._kept: dict[Any, Any] = {}

    @property
    def version(self) -> str:
        return platform.python_version()

    def job_id(self) -> str:
        return ""

    def node_id(self) -> str:
        return ""

    def device(self) -> Any:
        import torch

        return torch.device(self._device)

    def rest(self, seconds: float) -> None:
        time.sleep(seconds)

    def stop_if_cancelled(self) -> None:
        """Python raises ``KeyboardInterrupt`` by itself."""

    def output_folder(self) -> Path:
        return self._folder

    def user_folder(self) -> Path:
        return self._folder

    def show(self, text: str) -> None:
        """Into the log, for who has asked for it."""
        logging.getLogger(__name__).info(text)

    def free_memory(self) -> None:
        import torch

        gc.collect()
        for kind in ("cuda", "xpu", "mps"):
            backend = getattr(torch, kind, None)
            if backend is not None and backend.is_available():
                backend.empty_cache()

    def kept(self, kind: Callable[[], Kept]) -> Kept:
        if kind not in self._kept:
            self._kept[kind] = kind()
        return self._kept[kind]
