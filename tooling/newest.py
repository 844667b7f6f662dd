"""The newest releases of what ComfyUI runs on, in a virtual environment of their own."""

from __future__ import annotations

import sys
from pathlib import Path

from .comfyui import comfyui_folder
from .environment import VENV, find_uv, venv_python
from .shell import call

FOLLOWED = (
    "comfyui-frontend-package",
    "comfyui-workflow-templates",
    "comfy-kitchen",
    "comfy-aimdo",
    "torch",
    "torchvision",
    "torchaudio",
)
"""What ``test --newest`` takes the newest release of."""
NEWEST = VENV / "newest"


def make_newest() -> Path:
    """A virtual environment with the newest releases of :data:`FOLLOWED`; its Python.

    ComfyUI is the pinned one, or that of COMFYUI_PATH. It is made anew each time: tomorrow's
    newest are others.

    Raises:
        SetupError: it could not be made, or a package not be had.
    """
    uv = find_uv()
    command = (
        [*uv, "venv", "--clear", "--seed"] if uv else [sys.executable, "-m", "venv", "--clear"]
    )
    call([*command, str(NEWEST)], f"could not create {NEWEST}")
    python = NEWEST.joinpath(venv_python().relative_to(VENV))
    lines = (comfyui_folder() / "requirements.txt").read_text("utf-8").splitlines()
    free = [line.partition("==")[0] if line.startswith(FOLLOWED) else line for line in lines]
    requirements = NEWEST / "requirements.txt"
    requirements.write_text("\n".join(free), "utf-8")
    command = [*uv, "pip", "install", "--python"] if uv else []
    command = [*command, str(python)] if uv else [str(python), "-m", "pip", "install"]
    wanted = ["--upgrade", *FOLLOWED, "-r", str(requirements), "-e", ".[dev]"]
    call([*command, *wanted], "the newest releases could not be installed")
    return python
