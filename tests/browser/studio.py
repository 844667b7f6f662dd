"""Where ``make_previews.py`` and ``make_hud_picture.py`` photograph ComfyUI's real frontend."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frontend import Frontend, find_browser, launch
from playwright.sync_api import sync_playwright

from wattbench.hosts.remote.server import ComfyServer, find_comfyui


@contextmanager
def studio(
    base_directory: Path,
    meter: str,
    settings: Mapping[str, Any],
    size_px: tuple[int, int],
    arguments: Sequence[str] = (),
) -> Iterator[Frontend]:
    """The frontend of a ComfyUI of its own, at two pixels per CSS pixel; exits without a browser.

    Args:
        base_directory: of that ComfyUI.
        meter: what ``WATTBENCH_METER`` says there.
        settings: of the frontend, by id.
        size_px: width and height of the page, in CSS pixels.
        arguments: of ComfyUI, which computes on the CPU.
    """
    executable = find_browser()
    if executable is None:
        sys.exit("no Chrome, Chromium or Edge; set WATTBENCH_BROWSER to one")
    server = ComfyServer(
        find_comfyui(),
        base_directory=base_directory,
        arguments=["--cpu", *arguments],
        environment={"WATTBENCH_METER": meter},
    )
    with server, sync_playwright() as playwright, launch(playwright, executable) as browser:
        url = f"http://{server.client.address}"
        yield Frontend(browser, url, settings, size_px, pixel_ratio=2)
