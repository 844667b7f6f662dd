"""Which visit of a batch this process is."""

from __future__ import annotations

import os
import time

VISIT_VARIABLE = "WATTBENCH_VISIT"
"""Number of this process within a batch, counted from 1."""

LOADED_AT_S = int(time.time())
"""Unix time at which this process loaded the pack."""


def visit() -> int:
    """The visit's number; outside of a batch the time at which this process loaded the pack.

    So runs of several processes in one table are never taken for repeats within one.

    Raises:
        ValueError: the environment variable holds no number.
    """
    value = os.environ.get(VISIT_VARIABLE, str(LOADED_AT_S))
    if not value.isdecimal():
        raise ValueError(f"{VISIT_VARIABLE} must be a number like 1, it is {value!r}")
    return int(value)
