"""Where a ComfyUI of our own finds its Python, its base directory and the pack."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ... import requirements
from ...errors import CommandError
from ...processes.children import clean_environment, run

REPARSE_POINT_OF_JUNCTIONS = 0xA0000003
"""``stat.IO_REPARSE_TAG_MOUNT_POINT``, which only Windows has."""

FINDER = "import importlib.util as u, json, sys; print(json.dumps([n for n in sys.argv[1:] "
FINDER += "if u.find_spec(n) is None]))"


class LinkError(CommandError):
    """The pack cannot be put where ComfyUI looks for it."""


def user_data_folder() -> Path:
    """Where this system's programs keep a user's data."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def default_base_directory(pack_root: Path) -> Path:
    """The base directory of a ComfyUI of our own: in a checkout, else among the user's data.

    Never in ``site-packages``, nor in a pack below ``custom_nodes``, which updates replace.
    """
    is_checkout = (pack_root / "tasks.py").is_file() and pack_root.parent.name != "custom_nodes"
    return pack_root / ".comfyui" / "base" if is_checkout else user_data_folder() / "wattbench"


def python_beside(comfyui: Path) -> Path | None:
    """The Python of a ComfyUI's virtual environment, or of the portable ComfyUI for Windows."""
    inside = Path("Scripts", "python.exe") if os.name == "nt" else Path("bin", "python")
    folders = (comfyui, comfyui.parent)
    found = [folder / name / inside for folder in folders for name in (".venv", "venv")]
    found.append(comfyui.parent / "python_embeded" / "python.exe")
    return next((python for python in found if python.is_file()), None)


def choose_python(comfyui: Path) -> tuple[Path, str]:
    """The Python to run ``comfyui`` with, and what its user should know about that.

    It is the one that stands beside ComfyUI, whose torch is what its user would measure, unless it
    lacks what the pack needs.
    """
    ours, theirs = Path(sys.executable), python_beside(comfyui)
    if theirs is None or theirs.parent.resolve() == ours.parent.resolve():
        return ours, ""
    modules = {"torch": "torch", **requirements.REQUIRED}
    done = run([str(theirs), "-I", "-c", FINDER, *modules.values()], clean_environment())
    if done.returncode != 0:
        why_not = f"{theirs} does not start: {done.stderr.strip()}"
    else:
        absent = json.loads(done.stdout)
        names = [name for name, module in modules.items() if module in absent]
        if not names:
            return theirs, f"ComfyUI runs with {theirs} and its torch"
        why_not = requirements.complaint(names, str(theirs))
    return ours, f"ComfyUI runs with {ours} and its torch, not with its own Python. {why_not}"


def link_pack(pack_root: Path, custom_nodes: Path) -> None:
    """Make ``custom_nodes/wattbench`` lead to ``pack_root``: a symlink, on Windows a junction.

    Raises:
        LinkError: something else has that name, or the link cannot be made.
    """
    link = custom_nodes / "wattbench"
    try:
        custom_nodes.mkdir(parents=True, exist_ok=True)
        if link.exists() and link.samefile(pack_root):
            return
        if is_link(link):
            link.unlink()
        if sys.platform == "win32":
            # Needs no administrator, unlike a symlink. Not yet tried on Windows.
            import _winapi

            _winapi.CreateJunction(str(pack_root), str(link))
        else:
            link.symlink_to(pack_root, target_is_directory=True)
    except OSError as error:
        raise LinkError(
            f"cannot link the pack as {link}: {error}. Remove what is there, or see that the "
            "folder can be written"
        ) from error


def is_link(path: Path) -> bool:
    """Whether ``path`` is a symlink or a junction, also one that leads nowhere."""
    if not os.path.lexists(path):
        return False
    tag = getattr(path.lstat(), "st_reparse_tag", 0)
    return path.is_symlink() or tag == REPARSE_POINT_OF_JUNCTIONS
