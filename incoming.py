"""Paths and names that come in, from a workflow or a command: what of them is taken, and what not.

No message quotes anything of a file's content, and of a name only what can be printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from unicodedata import category

MAX_NAME_BYTES = 255
"""What file systems take for one name."""

MAX_PATH_BYTES = 4096

MAX_WORKFLOW_BYTES = 2**27
"""A workflow may have pictures in it."""

MAX_TABLE_BYTES = 8 * 2**30
"""Of a ``runs.csv``."""

ADDED_BYTES = 2**20

MAX_SHOWN = 60

RESERVED = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"}
    | {f"{port}{digit}" for port in ("COM", "LPT") for digit in "123456789¹²³"}
)
"""Names of devices on Windows, with any suffix."""

FORBIDDEN = frozenset('<>:"|?*\\/')
"""What a name cannot hold on every system."""


CONTROLS = frozenset({"Cc", "Zl", "Zp"})
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Categories and letters that make a name look like another, or break a line."""


class IncomingError(ValueError):
    """A name or a file that is not taken; the message says which and why."""


def check_name(name: str) -> str:
    """``name``, which can be that of a file on every system.

    Raises:
        IncomingError: it cannot.
    """
    _check_text(name)
    if not name.strip() or name in (".", ".."):
        raise IncomingError(f"{shown(name)} is not the name of a file")
    _check_part(name)
    found = sorted(FORBIDDEN & set(name))
    if found:
        raise IncomingError(f"the name {shown(name)} holds {' '.join(found)}: leave that out")
    if name != name.rstrip(" ."):
        raise IncomingError(f"the name {shown(name)} ends with a dot or a space: leave that out")
    return name


def check_path(path: str) -> str:
    """``path``, which may name a file: relative or whole, of this or another system's kind.

    Nothing is opened or looked at.

    Raises:
        IncomingError: it names a device, another machine, or what no file can be called.
    """
    _check_text(path)
    if not path.strip():
        raise IncomingError("a file's name is missing")
    if re.match(r"[\\/]{2}", path):
        raise IncomingError(f"{shown(path)} is on another machine or a device: copy the file here")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise IncomingError(f"the path {shown(path)} is longer than {MAX_PATH_BYTES} bytes")
    for part in _parts(path):
        _check_part(part)
    return path


def below(path: str, root: Path) -> Path | None:
    """The whole path of ``path`` below ``root``, links followed; ``None`` where it lies elsewhere.

    Raises:
        IncomingError: :func:`check_path` refuses it, or it means another file on another system.
            To Windows ``a:b`` is a part of the file ``a`` that no list shows, and ``a.`` is ``a``.
    """
    root = root.resolve()
    place = (root / check_path(path)).resolve()
    if not place.is_relative_to(root):
        return None
    for part in place.relative_to(root).parts:
        check_name(part)
    return place


def resolve(path: str | Path, folders: Sequence[Path]) -> Path:
    """The whole path of a file below one of ``folders``; a relative one is looked for in them.

    Raises:
        IncomingError: it lies elsewhere, links followed, or :func:`check_path` refuses it.
    """
    text, roots = check_path(str(path)), [folder.resolve() for folder in folders]
    places = [below(text, root) for root in roots]
    inside = [place for place in places if place is not None and place not in roots]
    if not inside:
        named = " or ".join(str(folder) for folder in folders)
        raise IncomingError(f"{shown(text)} is not a file in {named}: put it there")
    return next((place for place in inside if place.exists()), inside[0])


def check_file(path: Path, limit_bytes: int) -> Path:
    """``path``, which is a regular file of at most ``limit_bytes``.

    Raises:
        IncomingError: it is not, or there is none.
    """
    check_path(str(path))
    try:
        _check_status(path, path.stat(), limit_bytes)
    except OSError as error:
        raise _unreadable(path, error) from error
    return path


def read_file(path: Path, limit_bytes: int) -> bytes:
    """What a regular file of at most ``limit_bytes`` holds; never waits for a pipe or a device.

    Raises:
        IncomingError: it is no such file, or cannot be read.
    """
    with open_file(path, limit_bytes) as file:
        # Room is made for what is asked for: so no more than there is, and what is added now.
        content = file.read(os.fstat(file.fileno()).st_size + 1)
        while len(content) <= limit_bytes and (more := file.read(ADDED_BYTES)):
            content += more
    if len(content) > limit_bytes:
        raise _too_large(path, limit_bytes)
    return content


@contextlib.contextmanager
def open_file(path: Path, limit_bytes: int) -> Iterator[BinaryIO]:
    """As :func:`read_file`, to be read piece by piece; it may grow meanwhile."""
    check_file(path, limit_bytes)
    try:
        # What has been put there since then does not make this wait.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | _WITHOUT_WAITING)
        with os.fdopen(number, "rb") as file:
            _check_status(path, os.fstat(number), limit_bytes)
            yield file
    except OSError as error:
        raise _unreadable(path, error) from error


def read_text(path: Path, limit_bytes: int) -> str:
    """As :func:`read_file`, decoded from UTF-8, a byte order mark left out."""
    try:
        return read_file(path, limit_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IncomingError(f"{path} is no text in UTF-8") from error


def read_json(path: Path, limit_bytes: int) -> Any:
    """What a file of JSON holds; as :func:`read_text`."""
    text = read_text(path, limit_bytes)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise IncomingError(f"{path} is no JSON: {error.msg} ({place})") from error
    except (ValueError, RecursionError) as error:
        raise IncomingError(f"{path} is no JSON that can be read") from error


def shown(name: str) -> str:
    """A name in quotes, fit for a message: one line, and not long."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in name)
    return f"'{clean if len(clean) <= MAX_SHOWN else clean[:MAX_SHOWN] + '…'}'"


def _parts(path: str) -> list[str]:
    """The names in a path, without a drive."""
    return re.split(r"[\\/]", re.sub(r"^[A-Za-z]:", "", path))


_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0)


def _check_text(text: str) -> None:
    if any(category(letter) in CONTROLS or letter in TURNING for letter in text):
        raise IncomingError(f"the name {shown(text)} holds control characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise IncomingError(f"the name {shown(text)} is no text in Unicode") from error


def _check_part(part: str) -> None:
    if re.split("[.:]", part)[0].strip().upper() in RESERVED:
        raise IncomingError(f"{shown(part)} is the name of a device on Windows: choose another")
    if len(part.encode()) > MAX_NAME_BYTES:
        raise IncomingError(f"the name {shown(part)} is longer than {MAX_NAME_BYTES} bytes")


def _check_status(path: Path, status: os.stat_result, limit_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise IncomingError(f"{path} is {kind}, not a file")
    if status.st_size > limit_bytes:
        raise _too_large(path, limit_bytes)


def _too_large(path: Path, limit_bytes: int) -> IncomingError:
    return IncomingError(f"{path} is larger than {limit_bytes:,} bytes, which no such file is")


def _unreadable(path: Path, error: OSError) -> IncomingError:
    return IncomingError(f"{path} cannot be read: {error.strerror}")
