"""ComfyUI's own full-size models on the meta device, and torch's count of one forward pass."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def comfyui_meta() -> SimpleNamespace:
    """ComfyUI's modules, imported into this process for the CPU; nothing is computed."""
    path = Path(os.environ.get("COMFYUI_PATH", ROOT / ".comfyui" / "ComfyUI"))
    if not (path / "comfyui_version.py").is_file():
        message = f"no ComfyUI at {path}; run `python tasks.py setup` or set COMFYUI_PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    if str(path) not in sys.path:
        sys.path.append(str(path))
    from comfy.cli_args import args

    args.cpu = True
    import comfy.latent_formats
    import comfy.model_detection
    import comfy.ops
    import comfy.sample
    import comfy.samplers
    import comfy.sd
    import comfy.supported_models

    return SimpleNamespace(comfy=comfy)
