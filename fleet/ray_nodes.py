"""Machines of a fleet on Ray: how a node is started, and the environment that Ray has with us.

Ray only places. It reports nothing to anybody, has no dashboard, asks everybody for a token, and
listens on the address that it was given alone where that is this machine's own.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from ..errors import CommandError, UsageError
from ..incoming import IncomingError, read_json
from ..processes.children import Child, clean_environment, pack_command
from ..processes.environment import LOOPBACK
from ..tables.files import write_text
from .worker import HOME_VARIABLE

HOST_RESOURCE = "wattbench_host"
"""Every node has 1 of it: what measures alone takes all, cards that measure together a share."""

LEAST_RAY = (2, 52)
"""The first with tokens."""

DEFAULT_PORT = 26379
UP_FILE, TOKEN_FILE = "up.json", "token"
MAX_UP_BYTES = 2**16


@dataclass(frozen=True)
class Up:
    """A node that ``wattbench fleet up`` keeps on this machine."""

    pid: int
    created_s: float
    address: str
    is_head: bool
    folder: str

    @property
    def process(self) -> psutil.Process | None:
        """Who keeps it; ``None`` where that has ended."""
        try:
            process = psutil.Process(self.pid)
            is_it = abs(process.create_time() - self.created_s) < 1
            return process if is_it and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def import_ray() -> Any:
    """Ray, without amdsmi: Ray imports it where it is installed, and dies where ROCm is not.

    Raises:
        CommandError: it is not installed, or too old to ask for tokens.
    """
    before = sys.modules.get("amdsmi")
    sys.modules["amdsmi"] = None  # type: ignore[assignment]
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise CommandError(
            "several machines need Ray, which is not installed: pip install 'wattbench[fleet]'. "
            "The cards of this machine need no Ray: wattbench fleet run PLAN --here"
        ) from error
    finally:
        del sys.modules["amdsmi"]
        if before is not None:
            sys.modules["amdsmi"] = before
    version = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if version < LEAST_RAY:
        raise CommandError(
            f"Ray {ray.__version__} lets everybody in who reaches it: pip install -U "
            "'wattbench[fleet]'"
        )
    return ray


PATIENCE = {
    "RAY_health_check_timeout_ms": "60000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_gcs_rpc_server_connect_timeout_s": "60",
}
"""How long Ray waits for a machine that is busy: by its own defaults it declares a node dead that
is still for a minute. One whose processes have died is noticed by the closed connection."""


def ray_variables(home: Path) -> dict[str, str]:
    """What Ray finds in its environment; of :data:`PATIENCE` what is set already stays."""
    patience = {name: os.environ.get(name, value) for name, value in PATIENCE.items()}
    return {
        **patience,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(home / TOKEN_FILE),
        # The mask of cards is the matrix's, and Ray's idea of full memory would end measurements.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_memory_monitor_refresh_ms": "0",
        # What runs on a node ends with it, and can go on later: Ray need not wait for it.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_LOG_TO_DRIVER": "0",
        HOME_VARIABLE: str(home),
    }


def make_token(home: Path, given: Path | None) -> Path:
    """The file of the fleet's token: ``given``'s content, else what is there, else a new one.

    Raises:
        UsageError: ``given`` cannot be read.
    """
    path = home / TOKEN_FILE
    if given is None and path.is_file():
        return path
    home.mkdir(parents=True, exist_ok=True)
    try:
        text = secrets.token_hex(32) if given is None else given.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{given} holds no token: {error}") from error
    path.unlink(missing_ok=True)
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "w", encoding="ascii") as file:
        file.write(text)
    return path


def read_up(home: Path) -> Up | None:
    """The node that runs here with this home; ``None`` where there is none."""
    up = _last_up(home)
    return up if up is not None and up.process is not None else None


def _last_up(home: Path) -> Up | None:
    try:
        return Up(**read_json(home / UP_FILE, MAX_UP_BYTES))
    except (IncomingError, TypeError):
        return None


class Node:
    """A node of Ray, within the block; a head where ``join`` is empty.

    Args:
        listen: this machine's address.
        port: the head's.
        join: ``HOST:PORT`` of the head.
        extra: variables for what is measured, such as COMFYUI_PATH.

    Raises:
        UsageError: a node runs here already.
    """

    def __init__(
        self, home: Path, listen: str, port: int, join: str, extra: Mapping[str, str]
    ) -> None:
        running = read_up(home)
        if running is not None:
            raise UsageError(
                f"a node runs here already, in process {running.pid}: end it by `wattbench fleet "
                "down`"
            )
        killed = _last_up(home)
        if killed is not None:
            shutil.rmtree(killed.folder, ignore_errors=True)
        self._home, self._join, self.log = home, join, home / "ray.log"
        shim = home / "without_amdsmi"
        write_text('raise ImportError("kept from Ray")\n', shim / "amdsmi.py")
        self._environment = clean_environment({**ray_variables(home), **extra})
        self._environment["PYTHONPATH"] = str(shim)
        self._words = ["--listen", listen, "--port", str(port), "--join", join]
        self._child: Child | None = None
        self._folder = ""

    def start(self) -> str:
        """Start it, also when it has ended; the address of the fleet's head.

        Raises:
            CommandError: it does not start, or listens on more than it should.
        """
        self._end()
        # Ray's sockets lie there, and the path of a socket is short.
        self._folder = tempfile.mkdtemp(prefix="wattbench-")
        given, taken = os.pipe()
        with os.fdopen(given, encoding="utf-8") as answers, self.log.open("ab") as told:
            with os.fdopen(taken, "wb") as out:
                command = pack_command("fleet.ray_node", *self._words, "--folder", self._folder)
                self._child = Child(command, environment=self._environment, stdout=out, stderr=told)
            address = _address(answers, self.log)
        process = psutil.Process()
        up = Up(process.pid, process.create_time(), address, not self._join, self._folder)
        write_text(json.dumps(asdict(up)), self._home / UP_FILE)
        return address

    def wait(self) -> None:
        """Until it has ended by itself."""
        while self._child is not None and self._child.poll() is None:
            time.sleep(1)

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._child = None

    def __enter__(self) -> Node:
        self.log.write_bytes(b"")
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        (self._home / UP_FILE).unlink(missing_ok=True)


def _address(answers: Any, log: Path) -> str:
    for line in answers:
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict) and "address" in answer:
            return str(answer["address"])
        if isinstance(answer, dict) and "error" in answer:
            raise CommandError(str(answer["error"]))
    words = log.read_text("utf-8", "replace").strip()[-1000:]
    raise CommandError(f"Ray does not start: {words or 'it says nothing'}. See {log}")


def open_addresses(processes: list[psutil.Process], listen: str) -> list[str]:
    """Addresses on which processes listen, and which are not this machine's own; none where asked.

    On an address of the network all is as Ray has it: on every address of the machine.
    """
    if listen not in LOOPBACK:
        return []
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                is_open = connection.status == psutil.CONN_LISTEN
                address = connection.laddr.ip.removeprefix("::ffff:") if is_open else "127.0.0.1"
                if not (address.startswith("127.") or address == "::1"):
                    found.add(f"{connection.laddr.ip}:{connection.laddr.port}")
    return sorted(found)
