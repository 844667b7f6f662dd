"""What a guardian has changed and not put back yet: a file that outlives it.

It lies where a restart of the machine, which resets limits, empties it too, and where only those
can write who can set the limit.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from .base import TOLERANCE_W, PowerLimit, PowerLimitError

FOLDER_VARIABLE = "WATTBENCH_STATE_FOLDER"
LOCK_TIMEOUT_S = 5.0
"""A guardian that was killed keeps its lock for a moment."""

MAX_BYTES = 65536


@dataclass(frozen=True)
class Change:
    """``former_w`` was the limit, and these were asked for since."""

    former_w: float
    asked_w: tuple[float, ...] = ()

    def and_asked(self, limit_w: float) -> Change:
        """The change with one more limit that is asked for; each stands in it once."""
        return Change(self.former_w, tuple(dict.fromkeys((*self.asked_w, limit_w))))

    def left_at(self, now_w: float) -> bool:
        """Whether a limit that reads ``now_w`` is one of those that were asked for.

        Otherwise somebody has set it since, or the machine has started anew.
        """
        others = [limit for limit in self.asked_w if abs(limit - self.former_w) > TOLERANCE_W]
        return any(abs(limit - now_w) <= TOLERANCE_W for limit in others)


class Unrestored:
    """The change of one board's limit, which one process at a time can make; a context manager.

    Raises:
        PowerLimitError: on entering: another guardian has the board; in every method and there: the
            file cannot be written.
    """

    def __init__(self, limit: PowerLimit, folder: Path | None = None) -> None:
        self._name = limit.name
        self._folder = folder or default_folder()
        self._path = self._folder / f"{re.sub('[^A-Za-z0-9.-]', '_', limit.identity)}.json"
        self._lock = FileLock(self._path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S)

    def __enter__(self) -> Unrestored:
        try:
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise PowerLimitError(
                f"the limit of {self._name} is held by another `wattbench powercap`",
                "wait until that has ended",
            ) from error
        except OSError as error:
            raise self._failure(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def read(self) -> Change | None:
        """The change that nobody has undone; ``None`` where there is none, or no whole file."""
        try:
            with self._path.open("rb") as file:
                data = json.loads(file.read(MAX_BYTES))
            asked_w = tuple(float(limit) for limit in data["asked_w"])
            return Change(float(data["former_w"]), asked_w)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def write(self, change: Change) -> None:
        """Note a change before it is made; it is on the disk when this returns."""
        try:
            number, new = tempfile.mkstemp(dir=self._folder, prefix=self._path.stem)
            with os.fdopen(number, "w", encoding="ascii") as file:
                json.dump(asdict(change), file)
                file.flush()
                os.fsync(file.fileno())
            Path(new).replace(self._path)
        except OSError as error:
            raise self._failure(error) from error

    def clear(self) -> None:
        """The former limit is in force again."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> PowerLimitError:
        return PowerLimitError(
            f"{self._folder} cannot be written: {error.strerror}",
            "the former limit has to be kept there before the limit may be changed",
        )


def default_folder() -> Path:
    """``/run/wattbench`` for root; for others, and on Windows, a folder of their own."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    if os.name == "nt":
        return Path(os.environ.get("PROGRAMDATA", tempfile.gettempdir())) / "wattbench"
    if os.geteuid() == 0:
        return Path("/run/wattbench")
    own = os.environ.get("XDG_RUNTIME_DIR")
    return (
        Path(own, "wattbench") if own else Path(tempfile.gettempdir(), f"wattbench-{os.geteuid()}")
    )


def baseline(left: Change | None, now_w: float) -> tuple[float, float | None]:
    """The limit to restore, and ``now_w`` where that is what a killed guardian has left."""
    if left is not None and left.left_at(now_w):
        return left.former_w, now_w
    return now_w, None
