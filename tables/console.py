"""Words on a console whose encoding does not have all characters."""

from __future__ import annotations

import codecs
import io
import sys

REPLACEMENTS = {
    "—": "-",
    "\u2013": "-",
    "\u2212": "-",
    "±": "+-",
    "×": "x",
    "…": "...",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "²": "^2",
    "³": "^3",
    "°": " deg ",
    "µ": "u",
    "\u2019": "'",
    "“": '"',
    "”": '"',
    "\u00a0": " ",
}
HANDLER = "wattbench.readable"


def make_able() -> None:
    """Let stdout and stderr write any text: what their encoding lacks is put into plain words."""
    codecs.register_error(HANDLER, _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(REPLACEMENTS.get(char, "?") for char in missing), error.end
