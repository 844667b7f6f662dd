"""Which process this is, so that runs of two processes are never taken for one's."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import psutil

from ..records import short_hash

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def process_id() -> str:
    """A hash of this boot of the machine, and of this process's number and start time.

    A number alone comes again after a restart, and containers have numbers of their own.
    """
    return _identity(os.getpid())


@cache
def _identity(pid: int) -> str:
    """A process that was forked has what its parent has computed, and is another one."""
    return short_hash([boot_id(), pid, psutil.Process(pid).create_time()])


def boot_id() -> str:
    """The kernel's name of this boot; elsewhere than on Linux the time of the boot."""
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"
