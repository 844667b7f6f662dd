"""Small faults planted one by one, to find those that no test notices."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import PurePosixPath

from .comfyui import comfyui_folder
from .environment import venv_python
from .shell import ROOT, SetupError, call, hand_over, say


def mutate(paths: list[str], jobs: int, tests: list[str]) -> int:
    """Plant small faults one by one in a copy of the tree, and list those that no test notices.

    mutmut takes a module's name from its folder, and this one may have any: so the copy has the
    package's. It plants in functions only; bounds at the top of a module have tests of their own.

    Args:
        paths: modules and folders to plant in, relative to the root.
        jobs: faults tried at a time.
        tests: those to run; where empty, :func:`tests_of` each path.

    Raises:
        SetupError: mutmut cannot be installed, or a path is not there.
    """
    call(
        [str(venv_python()), "-m", "pip", "install", "--quiet", "-e", ".[mutation]"],
        "mutmut could not be installed",
    )
    scratch = ROOT / "output" / "mutation"
    shutil.rmtree(scratch, ignore_errors=True)
    left_out = shutil.ignore_patterns(".*", "output", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, scratch / "wattbench", ignore=left_out)
    settings = {
        "source_paths": ["wattbench"],
        "only_mutate": [mutated_files(path) for path in paths],
        "pytest_add_cli_args_test_selection": [
            f"wattbench/{path}" for path in tests or sorted(set(map(tests_of, paths)))
        ],
        "process_isolation": "forkserver",
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    options = ["[tool.pytest.ini_options]", 'addopts = "--import-mode=importlib"']
    (scratch / "pyproject.toml").write_text("\n".join(["[tool.mutmut]", *lines, *options]), "utf-8")
    env = {**os.environ, "COMFYUI_PATH": str(comfyui_folder())}
    mutmut = [str(venv_python()), "-m", "mutmut"]
    code = hand_over([*mutmut, "run", "--max-children", str(jobs)], env, scratch)
    hand_over([*mutmut, "results"], env, scratch)
    say(f"to see a change: cd {scratch}, then {' '.join(mutmut)} show NAME")
    return code


def mutated_files(path: str) -> str:
    """The pattern by which mutmut finds a module, or all modules below a folder."""
    if not (ROOT / path).exists():
        raise SetupError(f"{path} is no file or folder of {ROOT}")
    return f"wattbench/{PurePosixPath(path)}" + ("/*" if (ROOT / path).is_dir() else "")


def tests_of(path: str) -> str:
    """The tests of a module or folder: those of its room, or of the same name on the top floor."""
    room = PurePosixPath(path).parts[0]
    return f"tests/test_{room}" if room.endswith(".py") else f"tests/{room}"
