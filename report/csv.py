"""``runs.csv``, read as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analysis.columns import RUN_COLUMNS, TEXT_COLUMNS
from ..analysis.runs_table import typed
from ..measure.protocol.codec import process_of_visit
from ..records import SCHEMA_VERSION
from ..tables.csv import as_it_was, read_frame

if TYPE_CHECKING:
    import pandas as pd

IDENTITY_COLUMNS = ["schema_version", "run_id", "condition", "is_warmup", "error"]
"""Without these a table is no ``runs.csv``."""

SOME = 10_000
"""So many rows are read at once where only ids are asked for."""


def read_runs(path: Path) -> pd.DataFrame:
    """The table of a ``runs.csv``, typed as it was when it was written.

    Columns that an earlier WattBench did not have are blank; ``schema_version`` of a row says what
    its others mean.

    Raises:
        ValueError: the file is no ``runs.csv``, or of a later schema version.
        OSError: it cannot be read.
    """
    types: dict[str, Any] = {**dict.fromkeys(TEXT_COLUMNS, str), "seed": "UInt64"}
    return typed_runs(read_frame(path, types), f"{path}")


def run_ids(path: Path) -> Iterator[str]:
    """The ids in a ``runs.csv``, some at a time; none where there is no such file.

    Raises:
        ValueError: it is no ``runs.csv``.
        OSError: it cannot be read.
    """
    import pandas as pd

    if not path.exists():
        return
    try:
        with pd.read_csv(
            path, usecols=["run_id"], dtype=str, chunksize=SOME, encoding="utf-8-sig"
        ) as parts:
            for part in parts:
                yield from (str(as_it_was(cell)) for cell in part["run_id"])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a runs.csv: {str(error).strip()}") from error


def typed_runs(frame: pd.DataFrame, path: str) -> pd.DataFrame:
    """The table of a ``runs.csv`` that was read as text and numbers; ``path`` is for messages.

    Raises:
        ValueError: as for :func:`read_runs`.
    """
    missing = [column for column in IDENTITY_COLUMNS if column not in frame]
    if missing:
        raise ValueError(f"{path} is not a runs.csv: it lacks the columns {', '.join(missing)}")
    versions = set(frame["schema_version"]) - set(range(1, SCHEMA_VERSION + 1))
    if versions:
        raise ValueError(
            f"{path} has schema version {', '.join(map(str, versions))}, this WattBench reads up "
            f"to {SCHEMA_VERSION}"
        )
    if "process_id" not in frame and "visit" in frame:
        frame["process_id"] = frame["visit"].map(process_of_visit)
    if len(frame) and frame["is_warmup"].dtype != bool:
        raise ValueError(f"{path}: is_warmup must be True or False in every row; repair the table")
    try:
        return typed(frame.reindex(columns=RUN_COLUMNS))
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has a cell that is no number: {error}; repair it") from error
