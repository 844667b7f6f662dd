"""``tasks.py`` and ``tooling``: no part of the package, imported from where they lie."""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT))
try:
    tasks = importlib.import_module("tasks")
    checks, comfyui, environment, mutation, newest, shell = (
        importlib.import_module(f"tooling.{name}")
        for name in ("checks", "comfyui", "environment", "mutation", "newest", "shell")
    )
finally:
    # What else lies there, as nodes, has ComfyUI's names.
    sys.path.remove(str(ROOT))
