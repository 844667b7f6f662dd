"""What a batch tells, printed."""

from __future__ import annotations

import sys


class Terminal:
    """Prints lines, and how far a node is where somebody is looking."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def progress(self, done: int, total: int) -> None:
        if sys.stdout.isatty():
            print(f"  {done}/{total}", end="\n" if done == total else "\r", flush=True)
