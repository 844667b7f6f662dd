"""Every word of ours can be printed on every console."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
from wattbench.tables.console import make_able
make_able()
print("10 ± 2 — 3 × 4 … Größe 画")
"""


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", "10 +- 2 - 3 x 4 ... Gr??e ?"),
        ("cp437", "10 ± 2 - 3 x 4 ... Größe ?"),
        ("cp932", "10 ± 2 - 3 × 4 … Gr??e 画"),
        ("utf-8", "10 ± 2 — 3 × 4 … Größe 画"),
    ],
)
def test_what_an_encoding_lacks_is_put_into_plain_words(encoding, printed):
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert found.stdout.decode(encoding).rstrip() == printed
