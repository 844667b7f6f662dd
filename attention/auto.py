"""The fastest admissible kernel for a call, found by trying them all on its own tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Any

from .accuracy import exact_bound, relative_error
from .base import AttentionCall, Backend
from .ledger import clock_of

if TYPE_CHECKING:
    from torch import Tensor

WARM_UPS = 2
ROUNDS = 5
ROUND_S = 2e-3
"""A round repeats a call until it lasts about so long, so that a queue is kept filled."""

MOST_CALLS = 40
MOST_S = 0.5
"""A kernel is timed for about so long and no longer, after its warm-up."""

HOPELESS = 2.0
"""A kernel whose first round is so many times as slow as the best gets no more rounds."""

MARGIN = 0.02
"""Another kernel must be faster than sdpa by this part, or sdpa stays."""


@dataclass(frozen=True)
class Trial:
    """What a kernel did with a call: seconds a call and error, or why it is refused."""

    backend: str
    seconds: float | None = None
    error: float | None = None
    refusal: str = ""


def kernel_errors() -> tuple[type[Exception], ...]:
    """What kernels raise when they cannot run: torch's, their own checks, Triton's compiler."""
    errors: tuple[type[Exception], ...] = (
        RuntimeError,
        ValueError,
        TypeError,
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


def check(
    backend: Backend,
    call: AttentionCall,
    tensors: tuple[Tensor, Tensor, Tensor, Tensor | None, float | None],
    max_error: float,
    sdpa_error: float | None = None,
) -> Trial:
    """Run a kernel once and compare it with fp32.

    Args:
        tensors: q, k, v, mask and scale, as :mod:`.base` describes.
        max_error: bound of the relative error of a kernel that quantizes.
        sdpa_error: that of torch's sdpa on the same tensors, from which the bound of exact kernels
            follows.
    """
    reason = backend.supports(call)
    if reason:
        return Trial(backend.name, refusal=reason)
    try:
        error = relative_error(backend(*tensors), *tensors)
    except kernel_errors() as raised:
        return Trial(backend.name, refusal=f"it raised {type(raised).__name__}: {brief(raised)}")
    if error is None:
        return Trial(backend.name)
    bound = exact_bound(call.dtype, sdpa_error) if backend.is_exact else max_error
    if error <= bound:
        return Trial(backend.name, error=error)
    if error != error or error == float("inf"):
        return Trial(backend.name, error=None, refusal="its result holds NaN or infinity")
    refusal = f"its error against fp32 is {error:.2g}, above {bound:.2g}"
    return Trial(backend.name, error=error, refusal=refusal)


def try_all(
    backends: Sequence[Backend],
    call: AttentionCall,
    tensors: tuple[Tensor, Tensor, Tensor, Tensor | None, float | None],
    max_error: float,
) -> list[Trial]:
    """Try every kernel on a copy of the tensors, in rounds; the first should be torch's sdpa.

    A kernel that is refused is not timed.
    """
    q, k, v, mask, scale = tensors
    copies = (q.clone(), k.clone(), v.clone(), mask, scale)
    sdpa = check(backends[0], call, copies, max_error)
    trials = [sdpa, *(check(b, call, copies, max_error, sdpa.error) for b in backends[1:])]
    runners = {
        backend.name: _Runner(backend, copies, call.machine.kind)
        for backend, trial in zip(backends, trials, strict=True)
        if not trial.refusal
    }
    for _ in range(ROUNDS):
        best = min((r.seconds() for r in runners.values() if r.rounds), default=float("inf"))
        for runner in runners.values():
            if not runner.rounds or (runner.goes_on and runner.seconds() <= HOPELESS * best):
                runner.round()
    return [
        Trial(t.backend, runners[t.backend].seconds(), t.error) if t.backend in runners else t
        for t in trials
    ]


def pick(trials: Sequence[Trial]) -> Trial | None:
    """The fastest trial that is not refused; the first of ``trials`` unless beaten by a margin."""
    admitted = [trial for trial in trials if trial.seconds is not None]
    if not admitted:
        return None
    first, fastest = admitted[0], min(admitted, key=lambda trial: trial.seconds or 0.0)
    beaten = (fastest.seconds or 0.0) < (1 - MARGIN) * (first.seconds or 0.0)
    return fastest if beaten else first


def brief(error: Exception) -> str:
    """The first line of an error's message, cut short."""
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else ""


class _Runner:
    """Times a kernel round by round."""

    def __init__(self, backend: Backend, tensors: tuple[Any, ...], kind: str) -> None:
        self.rounds: list[float] = []
        self._run = lambda: backend(*tensors)
        self._clock = clock_of(kind)
        self._calls = 0

    def seconds(self) -> float:
        """Seconds of a call in the best round: what disturbs a measurement makes it longer."""
        return min(self.rounds)

    @property
    def goes_on(self) -> bool:
        """Whether more rounds are worth their time: long calls are timed well by one."""
        return sum(self.rounds) * self._calls < MOST_S

    def round(self) -> None:
        if not self._calls:
            self._timed(WARM_UPS)
            self._calls = max(1, min(MOST_CALLS, int(ROUND_S / max(self._timed(1), 1e-9))))
        self.rounds.append(self._timed(self._calls))

    def _timed(self, calls: int) -> float:
        start = self._clock.mark()
        for _ in range(calls):
            self._run()
        return self._clock.seconds(start, self._clock.mark()) / calls
