"""Forge, Forge Neo or another of its branches, as the host that the protocol runs in."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend import memory_management
from modules import paths_internal, progress, sd_samplers_common, shared
from modules_forge import forge_version

from ...host import Host, Kept

CANCEL_PERIOD_S = 0.25
"""How often a wait looks whether it has been cancelled."""

KEPT = "wattbench_kept"
"""The attribute of Forge's ``shared.state``, which lives as long as the program."""

FOLDER_OPTION = "wattbench_folder"
METER_OPTION = "wattbench_meter"
MEASURE_OPTION = "wattbench_measure"
PNG_OPTION = "wattbench_png"
"""Our keys in Forge's settings."""


class ForgeHost:
    """The :class:`...host.Host` that is the running Forge; it holds nothing itself."""

    @property
    def name(self) -> str:
        return "Forge Neo" if forge_version.version == "neo" else "Forge"

    @property
    def version(self) -> str:
        """Neo keeps its number beside the branch's name."""
        release = getattr(forge_version, "release", "")
        return " ".join(part for part in (str(forge_version.version), str(release)) if part)

    def job_id(self) -> str:
        """The task that is being worked on; empty outside of one."""
        return str(progress.current_task or "")

    def node_id(self) -> str:
        return ""

    def device(self) -> Any:
        return memory_management.get_torch_device()

    def rest(self, seconds: float) -> None:
        end_s = time.perf_counter() + seconds
        while (left_s := end_s - time.perf_counter()) > 0:
            self.stop_if_cancelled()
            time.sleep(min(left_s, CANCEL_PERIOD_S))

    def stop_if_cancelled(self) -> None:
        if self.is_cancelled():
            raise sd_samplers_common.InterruptedException

    def is_cancelled(self) -> bool:
        """Whether the user has pressed Interrupt, or asked to stop after this picture."""
        state = shared.state
        return bool(state.interrupted or state.stopping_generation)

    def output_folder(self) -> Path:
        return Path(paths_internal.default_output_dir)

    def user_folder(self) -> Path:
        return Path(paths_internal.data_path)

    def show(self, text: str) -> None:
        """Forge's page shows it beside its progress."""
        shared.state.textinfo = text

    def free_memory(self) -> None:
        memory_management.soft_empty_cache()

    def kept(self, kind: Callable[[], Kept]) -> Kept:
        known = vars(shared.state).setdefault(KEPT, {})
        if kind not in known:
            known[kind] = kind()
        found: Kept = known[kind]
        return found


FORGE = ForgeHost()
HOST: Host = FORGE
