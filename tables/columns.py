"""What a column of a table is: declared once; lists, types and documentation follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, Literal, TypeVar

Record = TypeVar("Record")

ColumnType = Literal["text", "integer", "unsigned", "number", "flag"]
"""``unsigned`` holds integers up to 2**64, as seeds are; ``flag`` is True or False, never blank."""


@dataclass(frozen=True)
class Column(Generic[Record]):
    """One column: ``value`` returns its cell for a record; ``None`` is a blank.

    ``unit`` is empty where there is none. ``meaning`` is Markdown for ``docs/columns.md``, where
    neighbours with the same one share a line. ``role`` says what other tables do with the column.
    """

    name: str
    type: ColumnType
    unit: str
    meaning: str
    value: Callable[[Record], object]
    role: str = ""


def cells(columns: Iterable[Column[Record]], record: Record) -> dict[str, object]:
    """The cells of one record, by column."""
    return {column.name: column.value(record) for column in columns}


def names(columns: Iterable[Column[Any]], role: str | None = None) -> list[str]:
    """The names of all columns, or of those of one role, in order."""
    return [column.name for column in columns if role is None or column.role == role]


def documented(columns: Iterable[Column[Any]]) -> list[tuple[str, str, str, str]]:
    """Names, type, unit and meaning, a row for each run of neighbours alike but in their names."""
    found = []
    for key, alike in groupby(columns, key=lambda c: (c.type, c.unit, c.meaning)):
        found.append((", ".join(f"`{column.name}`" for column in alike), *key))
    return found
