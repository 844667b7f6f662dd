"""``runs.csv`` and ``summary.csv``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..analysis.columns import RUN_COLUMNS, TEXT_COLUMNS
from ..analysis.runs_table import typed
from ..records import SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas as pd

IDENTITY_COLUMNS = ["schema_version", "run_id", "condition", "is_warmup", "error"]
"""Without these a table is no ``runs.csv``."""


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write the table whole or not at all: an existing file is replaced only by a complete one.

    Raises:
        OSError: the folder cannot be made or written.
    """
    write_text(frame.to_csv(index=False, lineterminator="\n"), path)


def write_text(text: str, path: Path) -> None:
    """As :func:`write_csv`, for any text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's: its files are readable by their owner alone, and stay so under the new name.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_runs(path: Path) -> pd.DataFrame:
    """The table of a ``runs.csv``, typed as it was when it was written.

    Columns that an earlier WattBench did not have are blank; ``schema_version`` of a row says what
    its others mean.

    Raises:
        ValueError: the file is no ``runs.csv``, or of a later schema version.
        OSError: it cannot be read.
    """
    import pandas as pd

    types: dict[str, Any] = {**dict.fromkeys(TEXT_COLUMNS, str), "seed": "UInt64"}
    try:
        frame = pd.read_csv(path, dtype=types)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV table: {str(error).strip()}") from error
    missing = [column for column in IDENTITY_COLUMNS if column not in frame]
    if missing:
        raise ValueError(f"{path} is not a runs.csv: it lacks the columns {', '.join(missing)}")
    versions = set(frame["schema_version"]) - set(range(1, SCHEMA_VERSION + 1))
    if versions:
        raise ValueError(
            f"{path} has schema version {', '.join(map(str, versions))}, this WattBench reads up "
            f"to {SCHEMA_VERSION}"
        )
    if len(frame) and frame["is_warmup"].dtype != bool:
        raise ValueError(f"{path}: is_warmup must be True or False in every row; repair the table")
    try:
        return typed(frame.reindex(columns=RUN_COLUMNS))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has a cell that is no number: {error}; repair it") from error
