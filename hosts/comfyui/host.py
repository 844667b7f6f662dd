"""ComfyUI as the host that the protocol runs in."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_management as management
import comfyui_version
import folder_paths
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context
from server import PromptServer

from ...host import Host, Kept
from .kept import kept

CANCEL_PERIOD_S = 0.25
"""How often a wait looks whether it has been cancelled."""


class ComfyUIHost:
    """The :class:`...host.Host` that is the running ComfyUI; it holds nothing itself."""

    name = "ComfyUI"

    @property
    def version(self) -> str:
        return str(comfyui_version.__version__)

    def job_id(self) -> str:
        """The prompt that this thread executes; empty outside of one."""
        context = get_executing_context()
        return context.prompt_id if context is not None else ""

    def node_id(self) -> str:
        """The node of the user's graph that this thread executes; empty outside of one.

        For a node that another one made while the graph ran, it is that other one.
        """
        context = get_executing_context()
        prompt = get_progress_state().dynprompt
        return prompt.get_display_node_id(context.node_id) if context is not None else ""

    def device(self) -> Any:
        return management.get_torch_device()

    def rest(self, seconds: float) -> None:
        end_s = time.perf_counter() + seconds
        while (left_s := end_s - time.perf_counter()) > 0:
            self.stop_if_cancelled()
            time.sleep(min(left_s, CANCEL_PERIOD_S))

    def stop_if_cancelled(self) -> None:
        management.throw_exception_if_processing_interrupted()

    def output_folder(self) -> Path:
        return Path(folder_paths.get_output_directory())

    def user_folder(self) -> Path:
        """ComfyUI empties its temporary folder whenever it starts or ends; this one stays."""
        return Path(folder_paths.get_user_directory())

    def show(self, text: str) -> None:
        """Show ``text`` on the node that is being executed."""
        context = get_executing_context()
        if context is not None:
            PromptServer.instance.send_progress_text(text, context.node_id)

    def free_memory(self) -> None:
        management.soft_empty_cache()

    def kept(self, kind: Callable[[], Kept]) -> Kept:
        return kept(kind)


HOST: Host = ComfyUIHost()
