"""The one writer and reader of CSV: no cell of text is a formula to a spreadsheet.

A cell of text that begins as a formula does gets an apostrophe before it, which reading takes away
again. Numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import write_text

if TYPE_CHECKING:
    import pandas as pd

FORMULA_START = r"'*(?:[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])"
"""Also in full width, and behind what some spreadsheets take away."""

FORMULA = re.compile(FORMULA_START)
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
MADE_HARMLESS = re.compile(f"'(?={FORMULA_START})")
MAX_HEADINGS_BYTES = 2**17

BOM = "\ufeff"
QUOTED_RETURN = "\n\ufdd0"
"""Stands for a carriage return while rows are written: writers quote a cell with a line feed, and
not all of them one with a return, which would end the row for a reader."""


def harmless(cell: object) -> object:
    """``cell`` as it is written: text that a spreadsheet would compute has an apostrophe."""
    if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def _written(cell: object) -> object:
    found = harmless(cell)
    return found.replace("\r", QUOTED_RETURN) if isinstance(found, str) else found


def as_it_was(cell: object) -> object:
    """What :func:`harmless` was given."""
    return cell[1:] if isinstance(cell, str) and MADE_HARMLESS.match(cell) else cell


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Lines of cells; the first are usually the headings."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_written(cell) for cell in row] for row in rows)
    return text.getvalue().replace(QUOTED_RETURN, "\r")


def frame_text(frame: pd.DataFrame) -> str:
    """A table with its headings."""
    text = _on_text(frame, _written).to_csv(index=False, lineterminator="\n")
    return text.replace(QUOTED_RETURN, "\r")


def write_frame(frame: pd.DataFrame, path: Path, *, for_excel: bool = False) -> Path:
    """Write a table whole or not at all; returns where it lies, see :func:`.files.write_text`.

    ``for_excel`` puts a byte-order mark first, without which Excel takes UTF-8 for something else.

    Raises:
        OSError: the folder cannot be made or written.
    """
    return write_text(f"{BOM if for_excel else ''}{frame_text(frame)}", path)


def read_frame(path: Path, types: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """A table, its numbers to the last bit, with or without a byte-order mark.

    Raises:
        ValueError: the file is no CSV; a pipe or a device is not even opened.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file but a folder, a pipe or a device")
    with path.open("rb") as file:
        if len(file.readline(MAX_HEADINGS_BYTES)) == MAX_HEADINGS_BYTES:
            raise ValueError(f"{path} is not a CSV table: its first line is too long for headings")
    return _parsed(path, f"{path}", types)


def parsed_frame(text: str, name: str, types: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The same of a text, which messages call ``name``.

    Raises:
        ValueError: it is no CSV.
    """
    first, _, _ = text[:MAX_HEADINGS_BYTES].partition("\n")
    if len(first) == MAX_HEADINGS_BYTES:
        raise ValueError(f"{name} is not a CSV table: its first line is too long for headings")
    return _parsed(io.StringIO(text.removeprefix(BOM)), name, types)


def _parsed(source: Any, name: str, types: Mapping[str, Any] | None) -> pd.DataFrame:
    import pandas as pd

    # From 3.1 on this is the default, and naming it is deprecated.
    has_exact_default = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
    exact: dict[str, Any] = {} if has_exact_default else {"float_precision": "round_trip"}
    try:
        frame = pd.read_csv(source, dtype=types, encoding="utf-8-sig", **exact)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is not a CSV table: {str(error).strip()}") from error
    return _on_text(frame, as_it_was)


def is_blank(column: pd.Series) -> pd.Series:
    """Whether each cell holds nothing, however the table was read."""
    return column.isna() | (column == "")


def _on_text(frame: pd.DataFrame, change: Any) -> pd.DataFrame:
    """The frame with each distinct text of its columns of text changed."""
    import pandas as pd

    changes = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column):
            texts = {text for text in column.dropna().unique() if change(text) != text}
            if texts:
                changes[name] = column.map(lambda cell: change(cell), na_action="ignore")
    return frame.assign(**changes) if changes else frame
