"""Places on Ray: a task for each assignment, pinned to its node, never tried twice by Ray."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from ..errors import CommandError
from .cards import Machine, this_machine
from .places import LostError
from .ray_nodes import HOST_RESOURCE, Up, import_ray, ray_variables
from .worker import Assignment, Outcome, default_home, work

ASK_S = 120.0
"""How long is waited for a machine to say which cards it has; a later answer counts, too."""

FOLLOW_S = 15.0
"""How often it is looked whether a node lives whose answer is waited for."""

DEAD_LOOKS = 4
"""After how many such looks in a row at a dead node Ray's own word of it is waited for no more."""


class OnRay:
    """The nodes of a fleet.

    Raises:
        CommandError: the fleet cannot be reached, or has another Ray or Python.
    """

    def __init__(
        self,
        up: Up,
        do: Callable[[Assignment], Outcome] = work,
        ask: Callable[[], Machine] = this_machine,
    ) -> None:
        os.environ.update(ray_variables(default_home()))
        self._ray = import_ray()
        try:
            with loopback_kept():
                self._ray.init(address=up.address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            raise CommandError(f"the fleet at {up.address} is not to be had: {error}") from error
        self._do, self._ask = do, self._ray.remote(ask)
        self._carry_out = self._ray.remote(carry_out)
        self._known: dict[str, Machine] = {}
        self._asked: dict[str, Any] = {}
        self._silent: dict[str, str] = {}

    def machines(self) -> Mapping[str, Machine]:
        """Nodes are asked once, and not while they measure: asking costs them time."""
        alive = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        for old in self._asked.keys() - alive.keys():
            del self._asked[old]
        new = {
            name: self._ask.options(**self._pinned(name)).remote()
            for name in alive
            if name not in self._known and name not in self._asked
        }
        self._asked.update(new)
        if new:
            patience_s = 0 if self._known else ASK_S
            self._ray.wait(list(new.values()), num_returns=len(new), timeout=patience_s)
        self._silent = {}
        for name, answer in list(self._asked.items()):
            try:
                self._known[name] = self._ray.get(answer, timeout=0)
                del self._asked[name]
                continue
            except self._ray.exceptions.GetTimeoutError:
                told = "it does not answer yet"
            except self._ray.exceptions.RayError as error:
                told = _first_line(error)
                del self._asked[name]
            address = alive[name]["NodeManagerAddress"]
            self._silent[name] = f"{address} does not say what it has: {told}"
        return {name: self._known[name] for name in alive if name in self._known}

    def silent(self) -> list[str]:
        return list(self._silent.values())

    def free(self) -> float:
        """How many of the machines measure nothing."""
        return float(self._ray.available_resources().get(HOST_RESOURCE, 0.0))

    def submit(self, place: str, assignment: Assignment, share: float) -> Future[Outcome]:
        # Ray counts in steps of 0.0001; thirds would be more than the whole.
        portion = int(share * 10_000) / 10_000
        options = self._pinned(place, resources={HOST_RESOURCE: portion}, num_returns="streaming")
        answers = self._carry_out.options(**options).remote(self._do, assignment)
        future: Future[Outcome] = Future()
        follow = threading.Thread(target=self._follow, args=(answers, place, future), daemon=True)
        follow.start()
        return future

    def _follow(self, answers: Any, place: str, future: Future[Outcome]) -> None:
        """Let a future have what a task answers: first that it has begun, then what came of it."""
        errors = self._ray.exceptions
        gone = (errors.NodeDiedError, errors.TaskUnschedulableError)
        try:
            has_begun = self._next(answers, place, future) and future.set_running_or_notify_cancel()
            if has_begun:
                future.set_result(self._next(answers, place, future))
                return
            self._ray.cancel(answers, force=True)
            future.set_running_or_notify_cancel()
        except LostError as error:
            future.set_exception(error)
        except gone as error:
            future.set_exception(LostError(_first_line(error), place_is_gone=True))
        except errors.RayTaskError as error:
            future.set_exception(error)
        except errors.RayError as error:
            future.set_exception(LostError(_first_line(error)))
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
            future.set_exception(error)

    def _next(self, answers: Any, place: str, future: Future[Outcome]) -> Any:
        """The next answer of a task, ``None`` where nobody waits for it any longer.

        LostError where its node is dead and Ray does not say so of the task.
        """
        looks = 0
        while looks < DEAD_LOOKS:
            ready, _ = self._ray.wait([answers], timeout=FOLLOW_S)
            if ready:
                return self._ray.get(next(answers))
            if future.cancelled():
                return None
            alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
            looks = 0 if place in alive else looks + 1
        raise LostError("its node is dead", place_is_gone=True)

    def close(self) -> None:
        """Leave the fleet; what it still measures for this process ends."""
        self._ray.shutdown()

    def _pinned(self, name: str, **options: Any) -> dict[str, Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        pin = NodeAffinitySchedulingStrategy(name, soft=False)
        return {"scheduling_strategy": pin, "max_retries": 0, "num_cpus": 0, **options}


def carry_out(do: Callable[[Assignment], Outcome], assignment: Assignment) -> Iterator[Any]:
    """A task of Ray: says that it has begun, and then what came of it."""
    yield True
    yield do(assignment)


@contextlib.contextmanager
def loopback_kept() -> Iterator[None]:
    """Within the block Ray does not put this machine's address of the network for 127.0.0.1."""
    from ray._private import services

    before = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        services.resolve_ip_for_localhost = before


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
