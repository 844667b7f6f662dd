"""Print the path of a Chrome, Chromium or Edge for the tests; obtain one where none is installed.

In this order: ``WATTBENCH_BROWSER``, an installed one, Playwright's own, Debian's package when
root. Exits with 1 and a message on standard error where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

NAMES = (
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "chromium",
    "chromium-browser",
    "microsoft-edge",
    "msedge",
)
MAC_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
WINDOWS_FOLDERS = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
WINDOWS_PLACES = ("Google/Chrome/Application/chrome.exe", "Microsoft/Edge/Application/msedge.exe")


class NoBrowserError(Exception):
    """There is no browser, or the one that was asked for does not start."""


def starts(path: str) -> bool:
    """Whether the browser runs. On Windows ``--version`` opens a window: there it must exist."""
    if os.name == "nt":
        return Path(path).is_file()
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def installed(environment: Mapping[str, str]) -> str | None:
    """An installed browser: on PATH first, then where macOS and Windows keep theirs."""
    on_path = [shutil.which(name, path=environment.get("PATH", "")) for name in NAMES]
    folders = [environment[name] for name in WINDOWS_FOLDERS if name in environment]
    windows = [str(Path(folder, place)) for folder in folders for place in WINDOWS_PLACES]
    candidates = [path for path in on_path if path] + [*MAC_PLACES, *windows]
    return next((path for path in candidates if Path(path).is_file() and starts(path)), None)


def playwrights() -> str | None:
    """Playwright's own Chromium, downloaded where it is missing and the network allows."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    if not Path(path).is_file():
        run_shown([sys.executable, "-m", "playwright", "install", "chromium"])
    return path if starts(path) else None


def debians(environment: Mapping[str, str]) -> str | None:
    """Debian's package ``chromium``, installed where we are root."""
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    run_shown(["apt-get", "update", "-qq"])
    run_shown(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"])
    return installed(environment)


def run_shown(command: list[str]) -> None:
    """Run ``command``, which may fail; its output goes to standard error, ours being the path."""
    print("no browser yet, trying:", *command, file=sys.stderr, flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, env=env)


def find_browser(environment: Mapping[str, str]) -> str:
    """Path of the browser to test with.

    Raises:
        NoBrowserError: none is available, or ``WATTBENCH_BROWSER`` names one that does not start.
    """
    chosen = environment.get("WATTBENCH_BROWSER")
    if chosen and not starts(chosen):
        raise NoBrowserError(f"WATTBENCH_BROWSER is {chosen}, which does not start")
    found = chosen or installed(environment) or playwrights() or debians(environment)
    if found is None:
        raise NoBrowserError(
            "no Chrome, Chromium or Edge here, and none could be installed; install one, or set "
            "WATTBENCH_BROWSER to its path"
        )
    return found


if __name__ == "__main__":
    try:
        print(find_browser(os.environ))
    except NoBrowserError as error:
        sys.exit(str(error))
