"""A Job Object that ends a process and its children when this process ends.

By the documented signatures of kernel32; not yet tried on Windows.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

PROCESS_SET_QUOTA = 0x0100
PROCESS_TERMINATE = 0x0001
EXTENDED_LIMIT_INFORMATION = 9
KILL_ON_JOB_CLOSE = 0x2000


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("per_process_user_time_limit", ctypes.c_int64),
        ("per_job_user_time_limit", ctypes.c_int64),
        ("limit_flags", ctypes.c_uint32),
        ("minimum_working_set_size", ctypes.c_size_t),
        ("maximum_working_set_size", ctypes.c_size_t),
        ("active_process_limit", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority_class", ctypes.c_uint32),
        ("scheduling_class", ctypes.c_uint32),
    )


class _ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("basic", _BasicLimits),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory_limit", ctypes.c_size_t),
        ("job_memory_limit", ctypes.c_size_t),
        ("peak_process_memory_used", ctypes.c_size_t),
        ("peak_job_memory_used", ctypes.c_size_t),
    )


def tie_to_this_process(pid: int, kernel32: Any = None) -> Callable[[], object]:
    """Put process ``pid`` into a job of its own; returns what closes the job, which ends it.

    The system closes it where this process ends in any way.

    Raises:
        OSError: Windows refuses.
    """
    if kernel32 is None and sys.platform == "win32":
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.CreateJobObjectW.restype = kernel32.OpenProcess.restype = ctypes.c_void_p
    limits = _ExtendedLimits()
    limits.basic.limit_flags = KILL_ON_JOB_CLOSE
    job = _checked(kernel32.CreateJobObjectW(None, None), "CreateJobObjectW")
    process = _checked(
        kernel32.OpenProcess(PROCESS_SET_QUOTA | PROCESS_TERMINATE, False, pid), "OpenProcess"
    )
    try:
        _checked(
            kernel32.SetInformationJobObject(
                ctypes.c_void_p(job),
                EXTENDED_LIMIT_INFORMATION,
                ctypes.byref(limits),
                ctypes.sizeof(limits),
            ),
            "SetInformationJobObject",
        )
        _checked(
            kernel32.AssignProcessToJobObject(ctypes.c_void_p(job), ctypes.c_void_p(process)),
            "AssignProcessToJobObject",
        )
    finally:
        kernel32.CloseHandle(ctypes.c_void_p(process))
    return lambda: kernel32.CloseHandle(ctypes.c_void_p(job))


def _checked(answer: Any, function: str) -> Any:
    if not answer:
        if sys.platform == "win32":
            raise ctypes.WinError(ctypes.get_last_error())
        raise OSError(f"{function} was refused")
    return answer
