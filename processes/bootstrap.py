"""What a Python child of ours runs first: it finds one module or script, and nothing beside it.

A file to be started by its absolute path, by :mod:`.children`, with ``python -I``: neither the
current folder nor ``PYTHONPATH`` is looked into. So it imports nothing of the pack.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import runpy
import site
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PACK = "wattbench"
PACK_ROOT = Path(__file__).resolve().parents[1]

INSTALL_PRIVATELY = (
    "Take the right to write from others (chmod go-w), or install WattBench and its Python where "
    "only you and root can write"
)

UNSAFE = 3
"""The exit code where code that others can write was refused."""


FIRST_PERSON = 1000
"""Numbers of users below it are of the system."""


class UnsafeCodeError(Exception):
    """A file that would be run with an administrator's rights can be written by others."""


def check_private(path: Path, owners: Iterable[int]) -> None:
    """Raise UnsafeCodeError where somebody who is not of ``owners`` could change what ``path`` is.

    Looks at the file, at the folders above it, and at those that links on the way lead to. A
    missing file is no error. On Windows nothing is checked.
    """
    if os.name == "nt":
        return
    trusted = frozenset(owners)
    for part in _parts(path):
        try:
            found = part.lstat()
        except FileNotFoundError:
            continue
        if found.st_uid not in trusted:
            raise UnsafeCodeError(f"{part} belongs to user {found.st_uid}")
        if stat.S_ISLNK(found.st_mode):
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
            continue  # As /tmp: others cannot replace what is not theirs.
        if found.st_mode & stat.S_IWOTH:
            raise UnsafeCodeError(f"{part} can be written by every user")
        if found.st_mode & stat.S_IWGRP:
            others = _members(found.st_gid) - trusted
            if others:
                raise UnsafeCodeError(
                    f"{part} can be written by group {found.st_gid}, which user {min(others)} is in"
                )


def _parts(path: Path) -> Iterator[Path]:
    """The path, all folders above it, and the same of what links among them lead to."""
    waiting, seen = [path.absolute()], set()
    while waiting:
        current = waiting.pop()
        for part in (current, *current.parents):
            if part in seen:
                continue
            seen.add(part)
            yield part
            if part.is_symlink():
                target = Path(os.path.normpath(part.parent / part.readlink()))
                waiting.append(target / current.relative_to(part))


def _members(group: int) -> set[int]:
    """Users of a group, by its list and as their first group; as far as the system lists users."""
    import grp
    import pwd

    users = pwd.getpwall()
    ids = {user.pw_name: user.pw_uid for user in users}
    try:
        listed = grp.getgrgid(group).gr_mem
    except KeyError:
        listed = []
    # Some systems have accounts for nobody (sync, halt) in root's own group.
    least = FIRST_PERSON if group == 0 else 0
    first = {user.pw_uid for user in users if user.pw_gid == group and user.pw_uid >= least}
    return first | {ids[name] for name in listed if name in ids}


class PrivateFinder:
    """Stands before Python's own finder, and refuses each module that others can write."""

    def __init__(self, owners: Iterable[int]) -> None:
        self._owners = frozenset(owners)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            for file in (spec.origin, spec.cached):
                if file is not None:
                    check_private(Path(file), self._owners)
        return spec


def load_pack() -> None:
    """Make the pack importable as ``wattbench``, whatever its folder is called, and only it."""
    spec = importlib.util.spec_from_file_location(
        PACK, PACK_ROOT / "__init__.py", submodule_search_locations=[str(PACK_ROOT)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{PACK_ROOT} holds no pack")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = module
    spec.loader.exec_module(module)


def main(arguments: Sequence[str]) -> None:
    """Run what ``arguments`` say as ``__main__``; see :func:`.children.python_command`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", action="append", default=[])
    parser.add_argument("--owner", action="append", type=int, default=[])
    parser.add_argument("kind", choices=("script", "module", "pack"))
    parser.add_argument("target")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    args = parser.parse_args(arguments)
    if args.owner:
        check_private(PACK_ROOT / "__init__.py", args.owner)
        sys.meta_path.insert(0, PrivateFinder(args.owner))  # type: ignore[arg-type]
        sys.path.extend(args.packages)
    else:
        for folder in args.packages:
            site.addsitedir(folder)
    sys.argv[:] = [args.target, *args.rest]
    if args.kind == "script":
        sys.path.insert(0, str(Path(args.target).parent))
        runpy.run_path(args.target, run_name="__main__")
        return
    if args.kind == "pack":
        load_pack()
    runpy.run_module(args.target, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UnsafeCodeError as error:
        # In the form that the guardian answers in, whose errors a command understands.
        answer = {"error": f"refused: {error}", "remedy": INSTALL_PRIVATELY}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        sys.exit(UNSAFE)
