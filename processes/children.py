"""The one place that starts Python children: they run what was meant, and end when we do.

A child is started with ``python -I`` by an absolute path: a ``torch.py`` in the current folder, or
one that ``PYTHONPATH`` names, is never run. It works in a folder where nothing of the kind lies.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import site
import stat
import subprocess
import sys
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from .bootstrap import PACK, check_private
from .environment import child_environment

BOOTSTRAP = Path(__file__).resolve().with_name("bootstrap.py")
SUPERVISOR = BOOTSTRAP.with_name("supervisor.py")

SAFE_FOLDER = Path(sys.prefix)
"""Where a child works that needs no folder of its own: who can write there has Python already."""

KEPT_VARIABLES = frozenset(
    {
        *("PYTHONUTF8", "PYTHONIOENCODING", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"),
        *("PYTHONHASHSEED", "PYTHONNOUSERSITE", "PYTHONFAULTHANDLER"),
    }
)
"""Python's variables that do not say which code is run."""


def script_command(path: Path, *arguments: str, python: Path | None = None) -> list[str]:
    """What runs the script at ``path``, which may import from its own folder.

    ``python`` runs it; default the one that runs this.
    """
    return _command("script", str(path.resolve()), arguments, python)


def module_command(name: str, *arguments: str) -> list[str]:
    """What runs the installed module ``name``, as ``python -m`` does."""
    return _command("module", name, arguments)


def pack_command(
    name: str, *arguments: str, owners: Iterable[int] = (), python: Path | None = None
) -> list[str]:
    """What runs the pack's own module ``name``, such as ``measure.power_limit.guardian``.

    With ``owners``, user ids, nothing is run that somebody else can write: for a command that gets
    an administrator's rights.

    Raises:
        UnsafeCodeError: Python itself can be written by others.
    """
    trusted = sorted(set(owners))
    if not trusted:
        return _command("pack", f"{PACK}.{name}", arguments, python)
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    library = str(Path(os.__file__).parent)
    for file in (
        *(sys.executable, Path(sys.prefix, "pyvenv.cfg"), BOOTSTRAP),
        *(file for file in loaded if file and file.startswith(library)),
    ):
        check_private(Path(file), trusted)
    options = [f"--owner={owner}" for owner in trusted]
    options += [f"--packages={folder}" for folder in _packages()]
    # -S: what .pth files of the packages' folder would run is not run.
    isolated = [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(BOOTSTRAP)]
    return [*isolated, *options, "pack", f"{PACK}.{name}", *arguments]


def _command(
    kind: str, target: str, arguments: Sequence[str], other: Path | None = None
) -> list[str]:
    python = [str(other or sys.executable), "-I", "-X", "utf8"]
    if sys.pycache_prefix:
        python += ["-X", f"pycache_prefix={Path(sys.pycache_prefix).absolute()}"]
    if sys.dont_write_bytecode:
        python += ["-B"]
    # -I leaves out the user's own packages, which this process may have had torch from.
    is_ours = other is None or other == Path(sys.executable)
    own = [site.getusersitepackages()] if site.ENABLE_USER_SITE and is_ours else []
    return [*python, str(BOOTSTRAP), *(f"--packages={f}" for f in own), kind, target, *arguments]


def _packages() -> list[str]:
    """The folders that this Python finds installed packages in."""
    own = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [folder for folder in (*site.getsitepackages(), *own) if Path(folder).is_dir()]


def find_program(name: str) -> str | None:
    """The whole path of a program on PATH; ``None`` where there is none.

    Not looked into: the current folder, and on POSIX folders that every user can put files into.
    """
    file = f"{name}.exe" if os.name == "nt" else name
    for folder in map(Path, os.get_exec_path()):
        path = folder / file
        if not (folder.is_absolute() and path.is_file() and os.access(path, os.X_OK)):
            continue
        if os.name == "nt" or not folder.stat().st_mode & stat.S_IWOTH:
            return str(path)
    return None


def clean_environment(
    extra: Mapping[str, str] | None = None, direct: Iterable[str] = ()
) -> dict[str, str]:
    """As :func:`.environment.child_environment`, without what names Python code to run."""
    environment = child_environment(extra, direct)
    return {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith("PYTHON") or name.upper() in KEPT_VARIABLES
    }


class Child(subprocess.Popen[bytes]):
    """A process that ends, with all that it started, when this one ends in any way.

    By a pipe that the kernel closes, and on Linux by PR_SET_PDEATHSIG too; on Windows by a Job
    Object. It has no standard input, and a terminal's Ctrl-C does not reach it.

    Args:
        command: what to run, as :func:`script_command` gives it.
        environment: what it finds; default :func:`clean_environment`.
        folder: where it works.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path = SAFE_FOLDER,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
    ) -> None:
        given, kept_open = os.pipe()
        end = weakref.finalize(self, os.close, kept_open)
        supervised = [sys.executable, "-I", "-S", str(SUPERVISOR)]
        try:
            os.write(kept_open, json.dumps(list(command)).encode() + b"\n")
            super().__init__(
                list(command) if os.name == "nt" else supervised,
                stdin=subprocess.DEVNULL if os.name == "nt" else given,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                env=clean_environment() if environment is None else environment,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError:
            end()
            raise
        finally:
            os.close(given)
        if os.name == "nt":
            from .windows_job import tie_to_this_process

            weakref.finalize(self, tie_to_this_process(self.pid))

    def end(self, patience_s: float = 10.0) -> None:
        """End it and all that it started, by force after ``patience_s``; harmless once ended."""
        end_process_tree(self, patience_s)


def run(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output as text. It ends when this process does."""
    with Child(
        command, environment=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        try:
            out, err = child.communicate()
        except BaseException:
            child.end(0.0)
            raise
    texts = (raw.decode("utf-8", "replace") for raw in (out, err))
    return subprocess.CompletedProcess(list(command), child.returncode, *texts)


def end_process_tree(process: subprocess.Popen[bytes], patience_s: float = 10.0) -> None:
    """Terminate ``process`` and its descendants, kill what is left after ``patience_s``.

    Only ``process.wait`` takes its exit code: psutil would leave 0 to whoever else waits for it.
    """
    try:
        root = [psutil.Process(process.pid)]
        descendants = root[0].children(recursive=True)
    except psutil.NoSuchProcess:
        root = descendants = []
    for member in (*descendants, *root):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    deadline_s = time.monotonic() + patience_s
    _, alive = psutil.wait_procs(descendants, timeout=patience_s)
    while not _has_ended(process) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    for member in (*alive, *root):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    if isinstance(process, Child) and process.returncode is None and os.name != "nt":
        # It leads a group; what is left there may have lost its parent, and so this tree.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=patience_s)
    process.wait()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Without taking its exit code: until that is done its number is nobody else's."""
    if process.returncode is not None:
        return True
    try:
        return psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
