"""Fixtures that more than one test file uses."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def comfyui() -> SimpleNamespace:
    """ComfyUI in this process, on the CPU: its modules ``nodes`` and ``folder_paths``.

    It is looked for in the environment variable COMFYUI_PATH, then under ``.comfyui/ComfyUI``.
    """
    default = Path(__file__).parent.parent / ".comfyui" / "ComfyUI"
    root = Path(os.environ.get("COMFYUI_PATH") or default)
    if not (root / "comfy").is_dir():
        pytest.fail(f"no ComfyUI at {root}; run `python tasks.py setup` or set COMFYUI_PATH")
    sys.path.insert(0, str(root))
    from comfy.cli_args import args

    args.cpu = True
    import folder_paths

    import nodes

    return SimpleNamespace(root=root, nodes=nodes, folder_paths=folder_paths)
