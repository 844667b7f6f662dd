"""``.venv``: which torch it gets, whether there is space for it, and how it is filled."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import platform
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .shell import ROOT, SetupError, answer, call, say

VENV = ROOT / ".venv"
DOWNLOADS = VENV / "downloads"
"""What uv keeps, and pip's scratch: on the disk of ``.venv``, so that uv can link its files."""
TORCH_PINS = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
TORCH_INDEX = "https://download.pytorch.org/whl"
WHOLE_BYTES = {"cpu": (10**9, 3 * 10**9), "gpu": (33 * 10**8, 7 * 10**9)}
"""What a whole installation downloads and then takes, by the kind of torch."""
SLACK_BYTES = 10**9
REACH_TIMEOUT_S = 15.0


def venv_python() -> Path:
    folder = "Scripts" if os.name == "nt" else "bin"
    return VENV / folder / ("python.exe" if os.name == "nt" else "python")


def find_uv() -> list[str] | None:
    """The command that starts uv: on PATH, as a module of this Python, or inside ``.venv``."""
    candidates = [["uv"], [sys.executable, "-m", "uv"], [str(venv_python()), "-m", "uv"]]
    return next((uv for uv in candidates if answer([*uv, "--version"]) is not None), None)


def make_venv(uv: list[str] | None) -> None:
    """Create ``.venv`` from the Python that runs this file, pip included."""
    say(f"creating {VENV}")
    if uv:
        command = [*uv, "venv", "--quiet", "--clear", "--seed", "--python", sys.executable]
    elif answer([sys.executable, "-c", "import ensurepip, venv"]) is not None:
        command = [sys.executable, "-m", "venv", "--clear"]
    else:
        raise SetupError(
            f"{sys.executable} has no venv or ensurepip module. On Debian and Ubuntu install the "
            "package python3-venv; or install uv, which needs neither."
        )
    call([*command, str(VENV)], f"could not create {VENV}")


def get_uv() -> list[str] | None:
    """Install uv into ``.venv``: it is several times as fast as pip. ``None`` where that fails.

    Only a ready-made wheel will do: building uv needs a Rust compiler.
    """
    own = [str(venv_python()), "-m", "uv"]
    only_wheels = ["--only-binary", ":all:", "--no-cache-dir"]
    answer([str(venv_python()), "-m", "pip", "install", "-q", *only_wheels, "uv"])
    if answer([*own, "--version"]) is None:
        say("pip installs, which takes several times as long as uv would: uv cannot be had here")
        return None
    say("uv was put into .venv, and installs: it is several times as fast as pip")
    return own


def has_gpu() -> bool:
    """Whether an NVIDIA or AMD device shows on this machine."""
    shown = ("/dev/kfd", "/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg")
    return shutil.which("nvidia-smi") is not None or any(Path(path).exists() for path in shown)


def torch_backend() -> str | None:
    """The torch build to install, or ``None`` where the package index's is right.

    The package index holds torch for CUDA on Linux, but only for the CPU on Windows, and none for
    ROCm. Nothing but Linux without a GPU has been run yet.
    """
    asked = os.environ.get("WATTBENCH_TORCH_BACKEND")
    if asked:
        return asked
    if platform.system() == "Linux" and not has_gpu():
        return "cpu"
    nvidia_on_windows = os.name == "nt" and has_gpu()
    return "auto" if nvidia_on_windows or Path("/dev/kfd").exists() else None


def installed_build() -> str | None:
    """The build of the pinned torch in ``.venv``: ``cpu``, ``cu130``, empty where it is the
    package index's, ``None`` where that torch is not installed."""
    pin = TORCH_PINS[0].replace("==", "-")
    for folder in (VENV / "Lib", *VENV.glob("lib/python*")):
        for found in (folder / "site-packages").glob(f"{pin}*.dist-info"):
            return found.name.removesuffix(".dist-info").partition("+")[2]
    return None


def unreachable(url: str) -> str | None:
    """Why nothing can be fetched from ``url``, or ``None`` where it answers."""
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=REACH_TIMEOUT_S):
            return None
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(error)


def available_backend() -> str | None:
    """:func:`torch_backend`, or the package index's torch where the CPU's own is out of reach."""
    backend = torch_backend()
    is_asked_for = bool(os.environ.get("WATTBENCH_TORCH_BACKEND"))
    if backend != "cpu" or is_asked_for or installed_build() == "cpu":
        return backend
    why_not = unreachable(f"{TORCH_INDEX}/cpu/torch/")
    if why_not is None:
        return backend
    say(f"torch for the CPU alone is out of reach ({TORCH_INDEX}: {why_not}).")
    say("The package index's torch comes instead; it brings CUDA, which this machine does not use.")
    return None


def fingerprint(requirements: Path) -> str:
    """Hash of all that decides what ``.venv`` holds, its own place included."""
    parts = [
        str(ROOT),
        sys.version,
        " ".join(TORCH_PINS),
        str(torch_backend()),
        (ROOT / "pyproject.toml").read_text("utf-8"),
        (ROOT / "requirements.txt").read_text("utf-8"),
        requirements.read_text("utf-8"),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_installed(stamp: Path, wanted: str, extra: str) -> bool:
    """Whether ``stamp`` records ``wanted``, with ``extra`` or with ``dev``, which includes it."""
    try:
        recorded = json.loads(stamp.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return recorded.get("fingerprint") == wanted and recorded.get("extra") in (extra, "dev")


def can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def cache_of(uv: list[str]) -> Path:
    """Where ``uv`` keeps what it downloads: the user's own place if it is theirs and writable."""
    is_theirs = uv[0] != str(venv_python()) or "UV_CACHE_DIR" in os.environ
    theirs = answer([*uv, "cache", "dir"]) if is_theirs else None
    if theirs and can_write(Path(theirs)):
        return Path(theirs)
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    return DOWNLOADS


def used_bytes(folder: Path) -> int:
    return sum(
        os.lstat(Path(place, name)).st_size
        for place, _, names in os.walk(folder)
        if not Path(place).is_relative_to(DOWNLOADS)
        for name in names
    )


def check_space(uv: list[str] | None, backend: str | None) -> None:
    """Say what will come and where it goes.

    Raises:
        SetupError: a disk lacks the space.
    """
    download, whole = WHOLE_BYTES["cpu" if backend == "cpu" or os.name == "nt" else "gpu"]
    missing = max(0, whole - used_bytes(VENV))
    download = download * missing // whole
    cache = cache_of(uv) if uv else None
    # uv links what it keeps into .venv where both are on one disk; pip unpacks what it has fetched.
    needs = [(VENV, missing + SLACK_BYTES + (0 if uv else download))]
    if cache and cache.stat().st_dev != VENV.stat().st_dev:
        needs.append((cache, missing + SLACK_BYTES))
    say(f"about {download / 1e9:.1f} GB will be downloaded and {missing / 1e9:.1f} GB installed")
    for folder, needed in needs:
        free = shutil.disk_usage(folder).free
        say(f"  {folder}: needs {needed / 1e9:.1f} GB for it, has {free / 1e9:.1f} GB free")
        if free < needed:
            raise SetupError(
                f"the disk of {folder} has {free / 1e9:.1f} GB free and setting up needs "
                f"{needed / 1e9:.1f} GB there. Free some space first"
                + ("" if backend == "cpu" else ", or set WATTBENCH_TORCH_BACKEND=cpu")
            )


@contextmanager
def installer(uv: list[str] | None) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The command of uv, or of pip, that installs into ``.venv``, and its environment."""
    if uv:
        command = [*uv, "pip", "install", "--python", str(venv_python())]
        yield command, {**os.environ, "UV_CACHE_DIR": str(cache_of(uv))}
        return
    scratch = DOWNLOADS / "pip"
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        # pip fetches everything before it installs, into the system's folder for temporary files.
        places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
        keep = [] if "PIP_CACHE_DIR" in os.environ else ["--no-cache-dir"]
        yield [str(venv_python()), "-m", "pip", "install", *keep], {**os.environ, **places}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def install(uv: list[str] | None, backend: str | None, requirements: Path, extra: str) -> None:
    """Install torch, ComfyUI's requirements and this pack (editable) into ``.venv``.

    Raises:
        SetupError: neither uv nor pip could.
    """
    extras = f"{extra},amd" if Path("/dev/kfd").exists() else extra
    wanted = [*TORCH_PINS, "-r", str(requirements), "-e", f".[{extras}]"]
    if backend == "auto" and not uv:
        raise SetupError(
            "which torch build fits can only be found by uv, and uv cannot be had here. Name the "
            f"build in WATTBENCH_TORCH_BACKEND (the folders of {TORCH_INDEX}: cu130, rocm7.2, cpu)"
        )
    failure = f"{'uv' if uv else 'pip'} could not install"
    try:
        with installer(uv) as (command, env):
            if backend == "auto":
                call([*command, "--torch-backend", "auto", *TORCH_PINS], failure, env)
            elif backend and installed_build() != backend:
                index = ["--force-reinstall", "--index-url", f"{TORCH_INDEX}/{backend}"]
                call([*command, *index, *TORCH_PINS], failure, env)
            elif not backend and installed_build():
                call([*command, "--force-reinstall", *TORCH_PINS], failure, env)
            call([*command, *wanted], failure, env)
    except SetupError as error:
        if not uv or backend == "auto" or "a disk is full" in str(error):
            raise
        say(f"{error}. Trying pip")
        check_space(None, backend)
        install(None, backend, requirements, extra)
