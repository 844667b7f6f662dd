"""A ComfyUI server of our own: started under its own base directory, and stopped with us."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO

from ...errors import CommandError, UsageError
from ...processes.children import (
    Child,
    clean_environment,
    end_process_tree,
    pack_command,
    run,
    script_command,
)
from ...processes.signals import held
from .client import ComfyClient, ServerUnreachableError
from .places import choose_python, default_base_directory, link_pack

METER_VARIABLE = "WATTBENCH_METER"

PACK_ROOT = Path(__file__).resolve().parents[2]
"""The folder that ComfyUI loads as the node pack."""

PACK_MODULE = "custom_nodes.wattbench"
LOG_TAIL_LINES = 30
SAID_EVERY_S = 5.0
LONGEST_SAID = 100

PORTS = range(20000, 32768)
"""Below those that systems give to outgoing connections, one of which could have it when ComfyUI,
seconds later, is about to listen."""


PATH_OPTIONS = frozenset(
    {
        *("--base-directory", "--output-directory", "--temp-directory", "--input-directory"),
        *("--user-directory", "--models-directory", "--extra-model-paths-config"),
        *("--front-end-root", "--tls-keyfile", "--tls-certfile"),
    }
)
"""ComfyUI's options that are followed by paths, which a user means from the current folder."""


class ServerError(CommandError):
    """ComfyUI did not start, or not with this pack; the message ends with the tail of its log."""


def find_comfyui(chosen: Path | None = None, pack_root: Path = PACK_ROOT) -> Path:
    """ComfyUI's folder: ``chosen``, else ``COMFYUI_PATH``, else the one around the pack.

    A pack in ``custom_nodes`` has a ComfyUI above it; elsewhere it is what ``tasks.py setup``
    obtained.

    Raises:
        UsageError: that folder has no ``main.py``.
    """
    variable = os.environ.get("COMFYUI_PATH")
    around = pack_root.parent.parent
    if pack_root.parent.name != "custom_nodes" or not (around / "main.py").is_file():
        around = pack_root / ".comfyui" / "ComfyUI"
    folder = chosen or (Path(variable) if variable else around)
    if not (folder / "main.py").is_file():
        raise UsageError(
            f"no ComfyUI in {folder} (it has no main.py). Name its folder with --comfyui or "
            "COMFYUI_PATH, or run `python tasks.py setup` in WattBench's folder."
        )
    return folder.resolve()


def device_arguments(device: str, python: Path | None = None) -> list[str]:
    """ComfyUI's arguments for ``auto``, ``cpu`` or ``cuda``.

    ``python``'s torch is asked, in a process of its own: this one must hold no memory of the GPU.

    Raises:
        UsageError: ``cuda`` where torch sees none.
        ServerError: torch cannot be imported.
    """
    if device == "cpu":
        return ["--cpu"]
    probe = run(pack_command("hosts.remote.device_probe", python=python))
    if probe.returncode != 0:
        raise ServerError(
            f"torch does not load in {python or sys.executable}:\n{probe.stderr.strip()}"
        )
    found = probe.stdout.strip()
    if device == "cuda" and found != "cuda":
        raise UsageError(
            "--device cuda, but torch sees no CUDA or ROCm device here: check the driver and "
            "that torch is a build for it, or use --device cpu"
        )
    return ["--cpu"] if found == "cpu" else []


def absolute(arguments: Sequence[str]) -> list[str]:
    """ComfyUI's arguments with whole paths: it works in its own folder, its user in another."""
    whole, is_path = [], False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in PATH_OPTIONS and equals:
            whole.append(f"{name}={Path(value).absolute()}")
        elif is_path and not argument.startswith("-"):
            whole.append(str(Path(argument).absolute()))
            continue
        else:
            whole.append(argument)
        is_path = argument in PATH_OPTIONS
    return whole


def free_port() -> int:
    """A loopback port of :data:`PORTS` that nobody uses now."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ComfyServer:
    """ComfyUI as a child process, from ``with`` to the end of its block.

    The user's ComfyUI is only read: custom nodes, output, database and settings live in
    ``base_directory``. Models come from there too, but from ``comfyui/models`` alone where
    ``comfyui`` is not the one that ``tasks.py`` obtained.

    Args:
        comfyui: ComfyUI's folder, as :func:`find_comfyui` gives it.
        base_directory: default :func:`.places.default_base_directory`.
        port: default a free one.
        environment: variables on top of this process's own, as a child may have them.
        arguments: further arguments of ComfyUI, :func:`device_arguments` for one; they win over
            ours.
        log_path: where the server's output goes; default ``comfyui.log`` in the base directory.
        pack_root: the node pack to load; default this one.
        python: what runs ComfyUI; default as :func:`.places.choose_python` says.
        startup_timeout_s: how long ComfyUI may take until it answers.
        say: is told every few seconds of the start what ComfyUI is at, the last line of its log.

    Raises (on entering):
        ServerError: it ended, did not answer in time, or came up without the pack's nodes.
        UsageError: the port is in use.
    """

    def __init__(
        self,
        comfyui: Path,
        *,
        base_directory: Path | None = None,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        log_path: Path | None = None,
        pack_root: Path | None = None,
        python: Path | None = None,
        startup_timeout_s: float = 600.0,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.comfyui = comfyui
        self.base_directory = (base_directory or default_base_directory(PACK_ROOT)).resolve()
        self.port = port or free_port()
        self.environment = dict(environment or {})
        self.arguments = list(arguments)
        self.pack_root = pack_root or PACK_ROOT
        self.python = python or choose_python(comfyui)[0]
        self.startup_timeout_s = startup_timeout_s
        self._say = say
        self.log_path = log_path or self.base_directory / "comfyui.log"
        self.client = ComfyClient("127.0.0.1", self.port)
        self._process: Child | None = None
        self._log: IO[bytes] | None = None

    @property
    def output_directory(self) -> Path:
        """Where ComfyUI writes pictures and the pack its journal."""
        return self.base_directory / "output"

    @property
    def models_directory(self) -> Path:
        """Where ComfyUI looks for models; an argument that says so comes first."""
        option = "--models-directory"
        given = [
            words[1] if len(words) == 2 else following
            for word, following in pairwise([*self.arguments, ""])
            if (words := word.split("=", 1))[0] == option
        ]
        if given:
            return Path(given[-1]).absolute()
        users = self.comfyui / "models"
        is_ours = self.comfyui.parent == PACK_ROOT / ".comfyui"
        return users if users.is_dir() and not is_ours else self.base_directory / "models"

    def __enter__(self) -> ComfyServer:
        self._check_port()
        link_pack(self.pack_root, self.base_directory / "custom_nodes")
        with contextlib.ExitStack() as unless_it_serves:
            unless_it_serves.callback(self.stop)
            self._log = self.log_path.open("wb")
            with held():
                self._process = Child(
                    self._command(),
                    environment=clean_environment({"DO_NOT_TRACK": "1", **self._variables()}),
                    folder=self.comfyui,
                    stdout=self._log,
                    stderr=subprocess.STDOUT,
                )
            self._wait_until_ready()
            self._check_pack()
            unless_it_serves.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def is_running(self) -> bool:
        """Whether the server's process is alive."""
        return self._process is not None and self._process.poll() is None

    def wait(self) -> int:
        """Wait until the server ends by itself; its exit code."""
        if self._process is None:
            raise RuntimeError("the server was not started; use it in a with block")
        return self._process.wait()

    def stop(self) -> None:
        """End the server and all that it started; harmless where it has ended already."""
        if self._process is not None:
            end_process_tree(self._process)
        if self._log is not None:
            self._log.close()

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        lines = self.log_path.read_text("utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def error(self, message: str) -> ServerError:
        """``message`` with the tail of the log."""
        return ServerError(f"{message}. The end of {self.log_path}:\n{self.log_tail()}")

    def _command(self) -> list[str]:
        command = script_command(self.comfyui / "main.py", python=self.python)
        command += ["--base-directory", str(self.base_directory)]
        command += ["--listen", "127.0.0.1", "--port", str(self.port), "--disable-auto-launch"]
        # The default is a file inside ComfyUI's folder, which one server at a time may use.
        command += ["--database-url", "sqlite:///:memory:"]
        if self.models_directory.is_dir():
            command += ["--models-directory", str(self.models_directory)]
        return [*command, *absolute(self.arguments)]

    def _variables(self) -> dict[str, str]:
        """Ours, and a recording in place of a meter by its whole path: see :func:`absolute`."""
        meter = {**os.environ, **self.environment}.get(METER_VARIABLE, "")
        key, colon, file = meter.partition(":")
        if key != "replay" or not file:
            return self.environment
        return {**self.environment, METER_VARIABLE: f"{key}{colon}{Path(file).absolute()}"}

    def _check_port(self) -> None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                raise UsageError(f"port {self.port} is in use; name another one with --port")

    def _wait_until_ready(self) -> None:
        began_s = said_s = time.monotonic()
        while (now_s := time.monotonic()) < began_s + self.startup_timeout_s:
            if now_s >= said_s + SAID_EVERY_S:
                said_s = now_s
                at = self.log_tail().rpartition("\n")[2].strip()[:LONGEST_SAID]
                self._say(f"waiting for ComfyUI, {now_s - began_s:.0f} s: {at or 'no word yet'}")
            if not self.is_running():
                raise self.error(f"ComfyUI ended while starting (code {self.wait()})")
            try:
                self.client.get_json("/system_stats")
            except ServerUnreachableError:
                time.sleep(0.2)
            else:
                return
        raise self.error(f"ComfyUI did not answer within {self.startup_timeout_s:g} s")

    def _check_pack(self) -> None:
        nodes = self.client.get_json("/object_info")
        if not any(node.get("python_module") == PACK_MODULE for node in nodes.values()):
            raise self.error("ComfyUI started, but without WattBench's nodes")
