"""``docs/columns.md``: its tables of declared columns; ``python -m wattbench.report.columns_page``.

What stands between ``<!-- columns of X -->`` and ``<!-- end -->`` is written, the rest is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..analysis.columns import ALL_METRICS, COLUMNS
from ..tables.columns import Column, documented
from .nodes import MEASURED, SEAL

PAGE = Path(__file__).resolve().parent.parent / "docs" / "columns.md"
GENERATED = re.compile(r"(?<=<!-- columns of )([\w.]+)( -->\n).*?(?=<!-- end -->)", re.S)


def written(page: str) -> str:
    """``page`` with its tables as the columns are declared.

    Raises:
        KeyError: a table that nothing declares.
    """
    metrics = [f"- `{name}`{unit and f' ({unit})'}" for name, unit in ALL_METRICS.items()]
    tables = {
        "runs.csv": _rows(COLUMNS),
        "nodes.csv": _rows((*MEASURED, SEAL)),
        "metrics": metrics,
    }

    def replaced(found: re.Match[str]) -> str:
        lines = "\n".join(tables[found[1]])
        return f"{found[1]}{found[2]}\n{lines}\n\n"

    return GENERATED.sub(replaced, page)


def _rows(columns: Iterable[Column[Any]]) -> list[str]:
    heading = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    return heading + [f"| {' | '.join(cells)} |" for cells in documented(columns)]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8", newline="\n")
