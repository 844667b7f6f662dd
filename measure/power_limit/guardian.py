"""The process that changes a board's power limit, and puts it back whatever becomes of the rest.

    python -m wattbench.measure.power_limit.guardian nvml:0

It is the only one that needs rights, and does nothing else. Documents are JSON, one a line. It says
first what it found, then answers each request on its standard input. When that closes, because the
other side has closed it or was killed, and on SIGTERM or SIGHUP, it restores the limit and ends.
The former limit stands in a file before another one is set: where the guardian itself is killed,
the next one restores it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from types import FrameType
from typing import Any

from . import PowerLimit, PowerLimitError, open_limit
from .unrestored import Change, Unrestored, baseline

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class EndedError(Exception):
    """A signal asked for the end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Guard the limit of one board until the standard input closes: 0 where it was restored."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("name", help="the board, for example nvml:0")
    parser.add_argument("--restore", type=float, help="the limit to restore; default: that of now")
    args = parser.parse_args(arguments)
    _leave_the_terminal()
    try:
        with closing(open_limit(args.name)) as limit, Unrestored(limit) as unrestored:
            former_w, left_at_w = baseline(unrestored.read(), limit.read_w())
            change = Change(former_w if args.restore is None else args.restore)
            # Restores what a killed guardian has left. Otherwise changes nothing, but tells
            # whether the rights are there.
            limit.set_w(change.former_w)
            unrestored.write(change)
            _reply(_greeting(limit, change.former_w, left_at_w))
            _guard(limit, unrestored, change)
    except PowerLimitError as error:
        with suppress(OSError):
            _reply({"error": error.reason, "remedy": error.remedy})
        return 1
    return 0


def _leave_the_terminal() -> None:
    """Ctrl-C and a closed terminal are for the other side; its end is ours."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setsid"):
        with suppress(PermissionError):
            os.setsid()


def _greeting(limit: PowerLimit, former_w: float, left_at_w: float | None) -> dict[str, Any]:
    facts = {"name": limit.name, "label": limit.label, "former_w": former_w, "left_at_w": left_at_w}
    return {**facts, **asdict(limit.allowed)}


def _guard(limit: PowerLimit, unrestored: Unrestored, change: Change) -> None:
    """Serve requests; restore the limit however that ends."""
    try:
        try:
            for number in ENDING:
                signal.signal(number, _end)
            _serve(limit, unrestored, change)
        finally:
            _ignore_signals()
    except (EndedError, OSError):
        pass  # Told to end, or nobody reads the answers any more.
    finally:
        limit.set_w(change.former_w)
        unrestored.clear()
        with suppress(OSError):
            _reply({"restored_w": change.former_w})


def _end(number: int, frame: FrameType | None) -> None:
    _ignore_signals()
    raise EndedError


def _ignore_signals() -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _serve(limit: PowerLimit, unrestored: Unrestored, change: Change) -> None:
    """Each request has ``set_w``, or nothing: then the limit is only read."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "set_w" in request:
                change = change.and_asked(request["set_w"])
                unrestored.write(change)
                limit.set_w(request["set_w"])
            _reply({"limit_w": limit.read_w()})
        except PowerLimitError as error:
            _reply({"error": error.reason, "remedy": error.remedy})


def _reply(document: dict[str, Any]) -> None:
    """Unbuffered, so that nothing is left to be written to a reader who is gone."""
    os.write(sys.stdout.fileno(), f"{json.dumps(document)}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
