"""A board's power limit as a command changes it: through a guardian, which puts it back."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import CommandError
from ...processes.bootstrap import INSTALL_PRIVATELY, UnsafeCodeError
from ...processes.children import SAFE_FOLDER, clean_environment, pack_command
from ..meters.bounded import NoAnswerError, within
from . import LimitRange

SUDO = ("sudo", "-n", "--")
"""Without a prompt: `sudo -v` in the same terminal gives the rights for a while."""

GUARDIAN = "measure.power_limit.guardian"

ANSWER_S = 30.0
"""A guardian that has not answered by then never will: its driver hangs."""

RESTORE_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class GuardedBoard:
    """What a guardian found; ``former_w`` is the limit that it will restore.

    ``left_at_w`` is the limit that an earlier one, which was killed, had left, and that it has put
    back to ``former_w`` by now.
    """

    name: str
    label: str
    former_w: float
    allowed: LimitRange
    left_at_w: float | None = None


class GuardedLimit:
    """From ``with`` to the end of its block the limit may be changed; then it is as it was before.

    The guardian is a process in a session of its own. It restores the limit when this process
    closes the pipe to it, and the kernel closes it where this process is killed.

    Args:
        name: the board, such as ``nvml:0``, or ``auto``.
        prefix: what starts a command with an administrator's rights; :data:`SUDO` or nothing.

    Raises:
        CommandError: on entering, without the rights to set the limit (nothing was changed); on
            leaving, if the limit could not be restored.
    """

    board: GuardedBoard
    """What was found, once the block is entered."""

    def __init__(self, name: str, prefix: Sequence[str] = ()) -> None:
        self._name = name
        self._prefix = tuple(prefix)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> GuardedLimit:
        self._process = self._start(self._name)
        try:
            answer = _answer(self._process)
        except CommandError as error:
            _end(self._process)
            advice = (
                f" Type `{self._prefix[0]} -v` in this terminal before." if self._prefix else ""
            )
            raise CommandError(f"{error}. Nothing was changed.{advice}") from error
        allowed = LimitRange(answer["minimum_w"], answer["maximum_w"], answer["default_w"])
        self.board = GuardedBoard(
            answer["name"], answer["label"], answer["former_w"], allowed, answer["left_at_w"]
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and not _end(self._process):
            self._restore_again()

    def set_w(self, limit_w: float) -> float:
        """Set the limit; returns the watts that it reads once it has settled.

        Raises:
            CommandError: the driver refuses, or the guardian has ended.
        """
        return self._ask({"set_w": limit_w})

    def read_w(self) -> float:
        """The limit now, in watts.

        Raises:
            CommandError: it cannot be read, or the guardian has ended.
        """
        return self._ask({})

    def _ask(self, request: dict[str, float]) -> float:
        process = self._process
        if process is None or process.stdin is None:
            raise RuntimeError("the limit is not guarded; use it in a with block")
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise CommandError(f"the guardian of {self._name} has ended") from error
        return float(_answer(process)["limit_w"])

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        owners = (0, os.getuid()) if self._prefix else ()
        try:
            command = [*self._prefix, *pack_command(GUARDIAN, *arguments, owners=owners)]
            # No Child: it has to outlive us by as long as it takes to restore the limit.
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                cwd=SAFE_FOLDER,
                env=clean_environment(),
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except UnsafeCodeError as error:
            raise CommandError(
                f"refused to run with an administrator's rights: {error}. {INSTALL_PRIVATELY}"
            ) from error
        except OSError as error:
            raise CommandError(f"{command[0]} cannot be started: {error.strerror}") from error

    def _restore_again(self) -> None:
        """The guardian was killed, or failed; another one tries."""
        name, former_w = self.board.name, self.board.former_w
        process = self._start(name, "--restore", f"{former_w}")
        if not _end(process):
            raise CommandError(
                f"the power limit of {name} could not be restored to {former_w:g} W; set it "
                "yourself (`nvidia-smi -pl`, or the board's power1_cap), or restart the machine"
            )


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The guardian's next document.

    Raises:
        CommandError: it is an error, or the guardian has ended or does not answer.
    """
    try:
        line = within(ANSWER_S, process.stdout.readline) if process.stdout else ""
    except NoAnswerError as error:
        raise CommandError(
            f"the guardian of the power limit did not answer within {ANSWER_S:g} s: the driver "
            "does not answer it"
        ) from error
    if not line:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(RESTORE_TIMEOUT_S)
        raise CommandError(f"the guardian of the power limit has ended (code {process.returncode})")
    document: dict[str, Any] = json.loads(line)
    if "error" in document:
        raise CommandError("; ".join(filter(None, (document["error"], document["remedy"]))))
    return document


def _end(process: subprocess.Popen[str]) -> bool:
    """Close the pipe and wait; whether the guardian says that it has restored the limit.

    One that does not answer is killed, where that is allowed.
    """
    with contextlib.suppress(BrokenPipeError):
        if process.stdin:
            process.stdin.close()
    said = ""
    try:
        said = within(RESTORE_TIMEOUT_S, process.stdout.read) if process.stdout else ""
    except NoAnswerError:
        with contextlib.suppress(PermissionError):
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(RESTORE_TIMEOUT_S)
    if process.stdout and process.returncode is not None:
        process.stdout.close()
    return "restored_w" in said
