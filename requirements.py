"""Whether the packages that WattBench needs are installed in this Python, and what to do if not."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec
from pathlib import Path

REQUIRED = {
    "filelock": "filelock",
    "numpy": "numpy",
    "nvidia-ml-py": "pynvml",
    "pandas": "pandas",
    "psutil": "psutil",
    "scipy": "scipy",
}
"""The packages of ``requirements.txt``, and the module by which each is found."""

FILE = Path(__file__).resolve().with_name("requirements.txt")


class PackagesMissingError(Exception):
    """Packages are missing; the message names them and the command that installs them."""


def missing() -> list[str]:
    """The packages that this Python lacks. None is imported."""
    return [name for name, module in REQUIRED.items() if find_spec(module) is None]


def complaint(names: list[str], python: str = sys.executable) -> str:
    """What to say where ``python`` lacks the packages ``names``."""
    what = f'-r "{FILE}"' if FILE.is_file() else " ".join(names)
    return f'WattBench lacks {", ".join(names)}. Install with: "{python}" -m pip install {what}'


def log_missing() -> None:
    """One line in the log where packages are missing."""
    names = missing()
    if names:
        logging.error("%s", complaint(names))


def check() -> None:
    """Raise PackagesMissingError where a package is missing: before anything is measured."""
    names = missing()
    if names:
        raise PackagesMissingError(complaint(names))
