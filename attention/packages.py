"""Packages of kernels: whether they are installed, load, and work when they are called."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from subprocess import SubprocessError
from typing import Any

from ..offer import Machine, machine_of

SHORT = "memory is short"
HEADS, TOKENS = 2, 128
"""The size of a small call; a multiple of the blocks that kernels read."""


def kernel_errors() -> tuple[type[Exception], ...]:
    """What packages of kernels raise on a machine or a call that they were not made for.

    torch's own, their checks, what fails in code for another version, and Triton's compiler.
    """
    errors: tuple[type[Exception], ...] = (
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        NameError,
        AttributeError,
        AssertionError,
        ImportError,
        OSError,
        SubprocessError,
    )
    try:
        from triton.errors import TritonError
    except ImportError:
        return errors
    return (*errors, TritonError)


def is_found(package: str) -> bool:
    """Whether Python finds a package, which may be part of another, as ``flash_attn.cute``."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def import_fault(package: str) -> str:
    """Why an installed package cannot be imported; empty where it can.

    A compiled one that was made for another torch is found and does not load.
    """
    try:
        import_module(package)
    except kernel_errors() as error:
        return f"the package {package} does not load: {error}".splitlines()[0]
    return ""


def is_short_of_memory(error: Exception) -> bool:
    """Whether a kernel failed for want of memory; MPS and drivers raise no class of their own."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower()


def failure(error: Exception) -> str:
    """Why a kernel that raised is not used, on one line."""
    if is_short_of_memory(error):
        return SHORT
    first_line = str(error).strip().partition("\n")[0]
    return f"it raised {type(error).__name__}: {first_line[:120]}"


def is_here(machine: Machine) -> bool:
    """Whether torch's current device of that kind is such a machine."""
    import torch

    if machine.kind == "cuda" and not torch.cuda.is_available():
        return False
    return machine_of(torch.device(machine.kind)) == machine


def call_fault(kernel: Callable[..., Any], machine: Machine, dtype: str, head_dim: int) -> str:
    """Why a small call of ``kernel`` fails on the machine that is here; empty where it works.

    It is called once in a process. A lack of memory says nothing of the kernel.
    """
    import torch

    try:
        return _call_fault(kernel, machine, dtype, head_dim)
    except (torch.OutOfMemoryError, _ShortError):
        return ""


class _ShortError(Exception):
    """There was no memory for the call."""


@cache
def _call_fault(kernel: Callable[..., Any], machine: Machine, dtype: str, head_dim: int) -> str:
    import torch

    try:
        q = torch.linspace(-1, 1, HEADS * TOKENS * head_dim, device=machine.kind)
        q = q.reshape(1, HEADS, TOKENS, head_dim).to(getattr(torch, dtype))
        is_finite = bool(torch.isfinite(kernel(q, q, q, None, None)).all())
    except kernel_errors() as error:
        if is_short_of_memory(error):
            raise _ShortError from error
        return f"a small call fails: {failure(error)}"
    return "" if is_finite else "a small call gives NaN or infinity"


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def version_numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``(2, 7, 4)`` of ``2.7.4.post1``."""
    numbers = []
    for part in text.split("+")[0].split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)
