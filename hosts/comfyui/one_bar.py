"""One progress bar over all runs of a node, in place of one that starts over with each of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.utils

from ...measure.protocol.progress import Progress
from .host import HOST

SHOWN_EVERY_S = 0.5


@contextmanager
def one_bar(progress: Progress) -> Iterator[None]:
    """While it lasts, steps that core's nodes report are told to ``progress``, and shown by it.

    The bar counts the steps of all runs, as if each had as many as the one that is reported.
    """
    outer = comfy.utils.PROGRESS_BAR_HOOK
    shown_s = -SHOWN_EVERY_S

    def hook(value: int, total: int, preview: Any = None, **where: Any) -> None:
        nonlocal shown_s
        progress.step(value, total)
        if outer is not None:
            whole = total * progress.total
            outer(round(whole * progress.share), whole, preview, **where)
        now_s = time.perf_counter()
        if now_s >= shown_s + SHOWN_EVERY_S:
            shown_s = now_s
            HOST.show(progress.text)

    comfy.utils.set_progress_bar_global_hook(hook)
    try:
        yield
    finally:
        comfy.utils.set_progress_bar_global_hook(outer)
