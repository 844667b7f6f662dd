"""The fastest admissible kernel for a call, found by trying them all on its own tensors.

A call on a GPU costs twice: the host's time to queue it and the device's time to run it. Where the
device waits for the host, the first is what a sampling pays; where the host is ahead, the second.
Both are measured, and :func:`pick` weighs them by how often the device was found idle.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .accuracy import exact_bound, relative_error
from .base import AttentionCall, Backend
from .ledger import clock_of
from .packages import SHORT, failure, kernel_errors
from .sdpa import BACKENDS as SDPA_FAMILY
from .sdpa import lack_of_memory

if TYPE_CHECKING:
    from torch import Tensor, device

    from .base import Tensors

WARM_UPS = 3
ROUNDS = 5
ROUND_S = 2e-3
"""A round repeats a call until it lasts about so long, so that a queue is kept filled."""

MOST_CALLS = 20
BALLAST_SIZE = 4096
BALLAST_S = 2e-3
MOST_S = 0.5
"""A kernel is timed for about so long and no longer, after its warm-up."""

HOPELESS = 2.0
"""A kernel that is so many times as slow as the best gets no more rounds."""

DELAY_S = 0.03
"""A round may take so much longer by chance: another process or thread had the processor."""

UNCHECKED = "the call's own numbers are not finite, so it cannot be checked"
IN_PLACE = "it writes to its inputs, which the model may need again"
SDPA = SDPA_FAMILY[0]
"""The yardstick of exact kernels, which it is not held to itself."""

MARGIN = 0.02
"""Times are near-equal where they differ by less than this part of what sdpa takes, on the host or
the device, whichever is longer, or by less than they scatter."""


@dataclass(frozen=True)
class Trial:
    """What a kernel did with a call, or why it is refused.

    ``seconds`` are those of a call on its device, ``host_s`` those until the call returns;
    ``scatter_s`` is how far the two best rounds of either were apart.
    """

    backend: str
    seconds: float | None = None
    host_s: float | None = None
    error: float | None = None
    refusal: str = ""
    scatter_s: float = 0.0

    def cost(self, idle: float, hidden_s: float) -> float:
        """Seconds that a call costs where the device is idle at the part ``idle`` of the calls.

        There it has ``hidden_s`` for the call while the host is busy with what follows.
        """
        if self.seconds is None or self.host_s is None:
            return float("inf")
        waiting_s = self.host_s + max(0.0, self.seconds - hidden_s)
        return idle * waiting_s + (1 - idle) * self.seconds


def check(
    backend: Backend,
    call: AttentionCall,
    tensors: Tensors,
    max_error: float,
    sdpa_error: float | None = None,
) -> Trial:
    """Run a kernel once, on a copy of the tensors, and compare it with fp32.

    Args:
        tensors: q, k, v, mask and scale, as :mod:`.base` describes.
        max_error: bound of the relative error of a kernel that quantizes.
        sdpa_error: that of torch's sdpa on the same tensors, from which the bound of exact kernels
            follows.
    """
    reason = backend.supports(call) or lack_of_memory(backend.name, tensors)
    if reason:
        return Trial(backend.name, refusal=reason)
    try:
        copies = copies_of(tensors)
        out = backend(*copies)
        if not all(map(_is_unchanged, tensors[:4], copies[:4])):
            return Trial(backend.name, refusal=IN_PLACE)
        error = relative_error(out, *tensors)
    except kernel_errors() as raised:
        return Trial(backend.name, refusal=failure(raised))
    if error is None:
        return Trial(backend.name)
    if not math.isfinite(error):
        return Trial(backend.name, refusal="its result holds NaN or infinity")
    bound = exact_bound(call.dtype, sdpa_error) if backend.is_exact else max_error
    if error <= bound:
        return Trial(backend.name, error=error)
    refusal = f"its error against fp32 is {error:.2g}, above {bound:.2g}"
    return Trial(backend.name, error=error, refusal=refusal)


def check_beside_sdpa(
    backend: Backend, call: AttentionCall, tensors: Tensors, max_error: float
) -> Trial:
    """As :func:`check`, with the error of torch's sdpa taken first."""
    sdpa = check(SDPA, call, tensors, max_error, math.inf)
    return check(backend, call, tensors, max_error, sdpa.error)


def copies_of(tensors: Tensors) -> Tensors:
    """The same call in memory of its own; a mask that is expanded takes no more than it did."""
    q, k, v, mask, scale = tensors
    if mask is not None:
        stored = tuple(slice(1) if stride == 0 else slice(None) for stride in mask.stride())
        mask = mask[stored].clone().expand_as(mask)
    return q.clone(), k.clone(), v.clone(), mask, scale


def _is_unchanged(before: Tensor | None, after: Tensor | None) -> bool:
    """Whether each number is what it was; NaN, which is equal to nothing, is passed over."""
    if before is None or after is None:
        return True
    return bool(((before == after) | (before != before)).all())


def try_all(
    backends: Sequence[Backend],
    call: AttentionCall,
    tensors: Tensors,
    max_error: float,
) -> list[Trial]:
    """Try every kernel on a copy of the tensors, in rounds; the first should be torch's sdpa.

    A kernel that is refused is not timed.
    """
    sdpa = check(backends[0], call, tensors, max_error, math.inf)
    trials = [sdpa, *(check(b, call, tensors, max_error, sdpa.error) for b in backends[1:])]
    trials[1:] = [
        replace(t, refusal=UNCHECKED) if t.error is None and not t.refusal else t
        for t in trials[1:]
    ]
    copies, ballast = copies_of(tensors), Ballast(tensors[0].device)
    runners = {
        backend.name: _Runner(backend, copies, ballast)
        for backend, trial in zip(backends, trials, strict=True)
        if not trial.refusal
    }
    for _ in range(ROUNDS):
        best = min((r.seconds() for r in runners.values() if r.rounds), default=float("inf"))
        for runner in runners.values():
            if not runner.rounds or runner.goes_on(best):
                runner.round()
    return [runners[t.backend].timed(t) if t.backend in runners else t for t in trials]


def pick(trials: Sequence[Trial], idle: float = 0.0) -> Trial | None:
    """The cheapest trial that is not refused; the first of them unless clearly beaten.

    Of those that take near-equal time it is the one that keeps the device busy for the shortest
    time, which is what joules follow: a few microseconds of a host that is waited for are not
    bought with more of them on the device.

    Args:
        trials: of one call, torch's sdpa first.
        idle: the part of the model's calls at which the device had nothing left to do, 0 to 1, seen
            with sdpa: where the device was idle, all of sdpa's time on it was hidden.
    """
    admitted = [trial for trial in trials if trial.seconds is not None]
    if not admitted:
        return None
    first = admitted[0]
    taken_s, host_s = first.seconds or 0.0, first.host_s or 0.0
    margin_s = MARGIN * max(taken_s, host_s)

    def is_near(one: Trial, other: Trial) -> bool:
        near_s = max(margin_s, one.scatter_s, other.scatter_s)
        return abs(one.cost(idle, taken_s) - other.cost(idle, taken_s)) <= near_s

    quickest = min(admitted, key=lambda trial: trial.cost(idle, taken_s))
    near = [trial for trial in admitted if is_near(trial, quickest)]
    best = min(near, key=lambda trial: (trial.seconds, trial.cost(idle, taken_s)))
    busy_s = taken_s - (best.seconds or 0.0)
    is_equal = is_near(best, first) and busy_s <= max(margin_s, first.scatter_s, best.scatter_s)
    return first if is_equal else best


def is_lasting(trials: Sequence[Trial]) -> bool:
    """Whether trials tell of the kernels, and not of a moment without memory or finite numbers.

    The first should be torch's sdpa, which runs wherever there is memory.
    """
    refusals = [trial.refusal for trial in trials]
    return not refusals[0] and UNCHECKED not in refusals and SHORT not in refusals


class _Runner:
    """Times a kernel round by round."""

    def __init__(self, backend: Backend, tensors: tuple[Any, ...], ballast: Ballast) -> None:
        self.rounds: list[float] = []
        self._host_rounds: list[float] = []
        self._run = lambda: backend(*tensors)
        self._ballast = ballast
        self._clock = ballast.clock
        self._calls = 0

    def seconds(self) -> float:
        """Seconds of a call in the best round: what disturbs a measurement makes it longer."""
        return min(self.rounds)

    def timed(self, trial: Trial) -> Trial:
        """The trial with its times, and how far they scatter."""
        best_two = (sorted(rounds)[:2] for rounds in (self.rounds, self._host_rounds))
        scatter_s = max(two[-1] - two[0] for two in best_two)
        return replace(
            trial, seconds=self.seconds(), host_s=min(self._host_rounds), scatter_s=scatter_s
        )

    def goes_on(self, best_s: float) -> bool:
        """Whether more rounds are worth their time: long calls are timed well by one.

        Args:
            best_s: seconds of a call of the fastest kernel so far.
        """
        undisturbed_s = self.seconds() - DELAY_S / self._calls
        return sum(self.rounds) * self._calls < MOST_S and undisturbed_s <= HOPELESS * best_s

    def round(self) -> None:
        if not self._calls:
            once_s = min(self._timed(1)[0] for _ in range(WARM_UPS))
            self._calls = max(1, min(MOST_CALLS, int(ROUND_S / max(once_s, 1e-9))))
        seconds, host_s = self._timed(self._calls)
        self.rounds.append(seconds)
        self._host_rounds.append(host_s)

    def _timed(self, calls: int) -> tuple[float, float]:
        """Seconds of a call on the device, and until it returns, behind work that is queued."""
        self._ballast.load()
        start, began_s = self._clock.mark(), time.perf_counter()
        for _ in range(calls):
            self._run()
        returned_s, end = time.perf_counter(), self._clock.mark()
        return self._clock.seconds(start, end) / calls, (returned_s - began_s) / calls


class Ballast:
    """Work for a GPU's queue, so that calls queued behind it run without gaps between them."""

    def __init__(self, device: device) -> None:
        self.clock = clock_of(device.type)
        self._repeats = 0
        if device.type == "cuda":
            import torch

            self._matrix = torch.zeros((BALLAST_SIZE,) * 2, dtype=torch.float16, device=device)
            self._multiply(2)
            start = self.clock.mark()
            self._multiply(1)
            once = self.clock.seconds(start, self.clock.mark())
            self._repeats = min(50, int(BALLAST_S / max(once, 1e-9)) + 1)

    def load(self) -> None:
        """Queue it; a device without a queue needs none."""
        self._multiply(self._repeats)

    def _multiply(self, times: int) -> None:
        for _ in range(times):
            self._matrix @ self._matrix
