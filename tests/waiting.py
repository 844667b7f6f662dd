"""Waiting for what another thread or process does, however slow the machine is."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


def until(condition, within_s=60.0, pause_s=0.005):
    """What ``condition()`` answers as soon as that is true; it is asked every ``pause_s``."""
    deadline_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"it did not come about in {within_s:g} s"
        time.sleep(pause_s)
    return found


def result_of(coroutine):
    """What ``coroutine`` returns.

    It runs in a thread of its own: where a browser is open, Playwright's loop runs in this one.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
