"""ComfyUI inside this process, without a server: for benchmarks, tests and notebooks."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


def load_comfyui(folder: Path, *, cpu: bool, base_directory: Path | None = None) -> ModuleType:
    """Make ComfyUI's modules importable and return its module ``nodes``.

    The first call decides: a process has one ComfyUI. Where PyAV is missing, a placeholder takes
    its place, because ComfyUI imports it for video, which nothing here touches.
    """
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    if importlib.util.find_spec("av") is None:
        sys.meta_path.append(_PlaceholderFinder("av"))
    args = importlib.import_module("comfy.cli_args").args
    args.cpu = args.cpu or cpu
    if base_directory is not None:
        args.base_directory = str(base_directory)
    return importlib.import_module("nodes")


class _PlaceholderFinder(MetaPathFinder, Loader):
    """Finds a package that is not there, with whatever is asked of it."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname.split(".")[0] != self._package:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to execute."""


class _Placeholder(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
