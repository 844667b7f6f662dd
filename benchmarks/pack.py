"""The pack for scripts, installed or not: it is the folder above, whatever that is called."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType


def import_pack() -> Callable[[str], ModuleType]:
    """A function that imports a module of the pack, for example ``report.csv``."""
    root = Path(__file__).resolve().parent.parent
    if importlib.util.find_spec("wattbench") is None:
        spec = importlib.util.spec_from_file_location(
            "wattbench", root / "__init__.py", submodule_search_locations=[str(root)]
        )
        if spec is None or spec.loader is None:
            raise ImportError(f"{root} holds no pack")
        module = importlib.util.module_from_spec(spec)
        sys.modules["wattbench"] = module
        spec.loader.exec_module(module)
    return lambda name: importlib.import_module(f"wattbench.{name}")
