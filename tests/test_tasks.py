"""The pieces of ``tasks.py`` and of the search for a browser."""

import hashlib
import importlib.util
import io
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from .repository_tools import ROOT, checks, comfyui, environment, newest, shell, tasks


def load(name, file):
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


find_browser = load("find_browser", ROOT / "tests" / "find_browser.py")

posix_only = pytest.mark.skipif(os.name == "nt", reason="shell scripts")


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content
                tar.addfile(member)
    return path


def test_only_the_wanted_folder_is_unpacked(tmp_path):
    archive = write_tar(
        tmp_path / "a.tar.gz",
        {
            "pack-1/setup.py": b"no",
            "pack-1/vendor/ComfyUI/main.py": b"yes",
            "pack-1/vendor/ComfyUI/comfy/sd.py": b"also",
            "pack-1/vendor/ComfyUI2/main.py": b"no",
        },
    )
    comfyui.unpack(archive, PurePosixPath("pack-1/vendor/ComfyUI"), tmp_path / "out")
    files = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert files == {"main.py": b"yes", "comfy/sd.py": b"also"}


@pytest.mark.parametrize(
    "name",
    ["pack/../../evil.py", "pack/a/../../../evil.py", "pack/..\\evil.py", "pack/C:/evil.py"],
)
def test_member_outside_its_folder_is_refused(tmp_path, name):
    archive = write_tar(tmp_path / "a.tar.gz", {name: b"evil"})
    with pytest.raises(shell.SetupError, match="leaves its folder"):
        comfyui.unpack(archive, PurePosixPath("pack"), tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil.py"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_link_in_an_archive_is_refused(tmp_path, kind):
    archive = write_tar(tmp_path / "a.tar.gz", {"pack/link": (kind, "/etc/passwd")})
    with pytest.raises(shell.SetupError, match="is a link"):
        comfyui.unpack(archive, PurePosixPath("pack"), tmp_path / "out")
    assert not (tmp_path / "out" / "link").is_symlink()


def test_changed_download_is_refused(tmp_path):
    file = tmp_path / "comfy.tar.gz"
    file.write_bytes(b"genuine")
    comfyui.check_sha256(file, hashlib.sha256(b"genuine").hexdigest())
    with pytest.raises(shell.SetupError, match="was not unpacked"):
        comfyui.check_sha256(file, comfyui.SDIST_SHA256)


def test_stamp_covers_what_was_installed(tmp_path):
    stamp = tmp_path / "stamp.json"
    assert not environment.is_installed(stamp, "abc", "headless")
    stamp.write_text("{", "utf-8")
    assert not environment.is_installed(stamp, "abc", "headless")
    stamp.write_text(json.dumps({"fingerprint": "abc", "extra": "headless"}), "utf-8")
    assert environment.is_installed(stamp, "abc", "headless")
    assert not environment.is_installed(stamp, "abc", "dev")
    assert not environment.is_installed(stamp, "changed", "headless")
    stamp.write_text(json.dumps({"fingerprint": "abc", "extra": "dev"}), "utf-8")
    assert environment.is_installed(stamp, "abc", "headless")


def test_fingerprint_follows_what_is_asked_for(tmp_path, monkeypatch):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("torch\n", "utf-8")
    monkeypatch.delenv("WATTBENCH_TORCH_BACKEND", raising=False)
    first = environment.fingerprint(requirements)
    assert environment.fingerprint(requirements) == first
    requirements.write_text("torch\nnumpy\n", "utf-8")
    second = environment.fingerprint(requirements)
    monkeypatch.setenv("WATTBENCH_TORCH_BACKEND", "cu126")
    assert len({first, second, environment.fingerprint(requirements)}) == 3


def test_dev_extra_includes_headless():
    tomllib = pytest.importorskip("tomllib")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    names = {name: {line.split("=")[0].split(">")[0] for line in extras[name]} for name in extras}
    assert names["headless"] <= names["dev"]


def test_wrong_comfyui_path_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    assert tasks.main(["setup"]) == 1
    assert "has no main.py" in capsys.readouterr().err


@pytest.fixture
def empty_venv(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "DOWNLOADS", tmp_path / ".venv" / "downloads")
    (tmp_path / ".venv").mkdir()
    for name in ("WATTBENCH_TORCH_BACKEND", "UV_CACHE_DIR", "PIP_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".venv"


@pytest.mark.parametrize(("backend", "needed"), [("cpu", 5 * 10**9), (None, 113 * 10**8)])
def test_too_little_disk_is_refused(empty_venv, monkeypatch, capsys, backend, needed):
    """pip: what it downloads, what it installs, and some slack."""
    usage = shutil.disk_usage(empty_venv)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=needed))
    environment.check_space(None, backend)
    assert f"{empty_venv}: needs {needed / 1e9:.1f} GB" in capsys.readouterr().out
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=needed - 1))
    with pytest.raises(shell.SetupError, match="Free some space first"):
        environment.check_space(None, backend)


def test_space_that_is_used_already_is_not_asked_for_again(empty_venv, monkeypatch, capsys):
    with (empty_venv / "big").open("wb") as file:
        file.truncate(3 * 10**9)
    environment.check_space(None, "cpu")
    assert f"{empty_venv}: needs 1.0 GB" in capsys.readouterr().out


def write_uv(folder, cache):
    """A program that answers where it keeps what it downloads, and fails otherwise."""
    path = folder / "uv"
    path.write_text(f"#!/bin/sh\n[ $1 = cache ] && echo {cache} || exit 7\n", "utf-8")
    path.chmod(0o755)
    return [str(path)]


@posix_only
def test_uv_keeps_its_downloads_where_they_can_be_written(empty_venv, tmp_path):
    uv = write_uv(tmp_path, tmp_path / "kept")
    assert environment.cache_of(uv) == tmp_path / "kept"
    (tmp_path / "file").touch()
    assert (
        environment.cache_of(write_uv(tmp_path, tmp_path / "file" / "in")) == environment.DOWNLOADS
    )
    assert (
        environment.cache_of([str(environment.venv_python()), "-m", "uv"]) == environment.DOWNLOADS
    )


@posix_only
def test_pip_installs_where_uv_fails(empty_venv, tmp_path, monkeypatch, capfd):
    uv = write_uv(tmp_path, tmp_path / "kept")
    pip = environment.venv_python()
    pip.parent.mkdir()
    pip.write_text('#!/bin/sh\necho "pip: $@ in $TMPDIR"\n', "utf-8")
    pip.chmod(0o755)
    usage = shutil.disk_usage(empty_venv)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=10**12))
    environment.install(uv, None, tmp_path / "requirements.txt", "headless")
    printed = capfd.readouterr().out
    assert "uv could not install: the lines above say why. Trying pip" in printed
    assert "-m pip install --no-cache-dir torch==" in printed
    assert f"in {environment.DOWNLOADS / 'pip'}" in printed
    assert not (environment.DOWNLOADS / "pip").exists()


@pytest.mark.parametrize(
    ("printed", "meaning"),
    [
        (
            "ERROR: Could not install packages: [Errno 28] No space left on device",
            "a disk is full",
        ),
        (
            "  Caused by: failed to copy file: No space left on device (os error 28)",
            "a disk is full",
        ),
        (
            "error: failed to create directory `/x`: Permission denied (os error 13)",
            "something may not be written",
        ),
        (
            "error: Failed to initialize cache\n  Caused by: Read-only file system (os error 30)",
            "something may not",
        ),
        (
            "WARNING: Retrying: Temporary failure in name resolution\n"
            "ERROR: No matching distribution found for torch",
            "the network",
        ),
        (
            "error: Failed to fetch: `https://x/torch/`\n  Caused by: client error (Connect)",
            "the network",
        ),
        (
            "  × No solution found when resolving dependencies:\n"
            "  torch==2.11.0 has no wheels with a matching Python ABI tag",
            "no build for Python",
        ),
        ("fatal: something else", "the lines above say why"),
    ],
)
def test_what_pip_and_uv_failed_at_is_said(printed, meaning):
    assert meaning in shell.what_happened(printed)


@pytest.mark.parametrize(
    ("options", "meaning"),
    [
        (["--no-index"], "there is no build for Python"),
        (["--index-url", "http://127.0.0.1:9", "--retries", "1"], "the network or its proxy"),
    ],
)
def test_what_the_real_pip_failed_at_is_said(options, meaning, monkeypatch):
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    command = [sys.executable, "-m", "pip", "install", *options, "wattbench-none==1"]
    with pytest.raises(shell.SetupError, match=f"it failed: {meaning}"):
        shell.call(command, "it failed")


def test_torch_for_the_cpu_where_there_is_no_gpu(empty_venv, monkeypatch, capsys):
    monkeypatch.setattr(environment, "has_gpu", lambda: False)
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    monkeypatch.setattr(environment, "unreachable", lambda url: None)
    assert environment.available_backend() == "cpu"
    monkeypatch.setattr(environment, "unreachable", lambda url: "no route")
    assert environment.available_backend() is None
    assert "out of reach" in capsys.readouterr().out
    folder = empty_venv / "lib" / "python3.11" / "site-packages"
    (folder / f"{environment.TORCH_PINS[0].replace('==', '-')}+cpu.dist-info").mkdir(parents=True)
    assert environment.available_backend() == "cpu", "it is there already"
    monkeypatch.setattr(environment, "has_gpu", lambda: True)
    assert environment.available_backend() != "cpu"
    monkeypatch.setenv("WATTBENCH_TORCH_BACKEND", "cu130")
    assert environment.available_backend() == "cu130"


def test_an_index_that_does_not_answer_is_unreachable():
    assert environment.unreachable("http://127.0.0.1:9/torch/")
    assert environment.unreachable("http://[/")


def test_tests_ask_for_the_python_of_their_tools(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tasks, "DEVELOPERS_PYTHON", (99, 0))
    monkeypatch.setattr(environment, "VENV", tmp_path / "none")
    assert tasks.main(["lint"]) == 1
    assert "need Python 99.0 or later" in capsys.readouterr().err


def test_old_python_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(tasks, "MINIMUM_PYTHON", (99, 0))
    assert tasks.main(["demo"]) == 1
    assert "99.0 or later is needed" in capsys.readouterr().err


def test_arguments_after_dashes_are_pytests():
    assert tasks.parse_args(["test", "--", "-k", "meters"]).pytest == ["-k", "meters"]
    with pytest.raises(SystemExit):
        tasks.parse_args(["demo", "--", "-x"])


def test_every_step_runs_and_one_failure_is_a_failure(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(checks, "venv_python", lambda: Path(sys.executable))
    steps = [("first", ["no_such_module"]), ("second", ["this"])]
    assert checks.run_steps(steps) == 1
    printed = capfd.readouterr().out
    assert "first        FAILED (1)" in printed
    assert "No module named no_such_module" in printed
    assert "The Zen of Python" in printed
    assert "second       ok" in printed
    assert checks.run_steps(steps[1:]) == 0


@pytest.mark.parametrize(
    ("cores", "spread"), [(1, []), (2, ["-n", "2", "--dist", "loadfile"]), (64, ["-n", "4"])]
)
def test_the_whole_suite_is_spread_over_the_cores(monkeypatch, cores, spread):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    _, command = checks.pytest_step([])
    assert command[1 : 1 + len(spread)] == spread
    assert checks.pytest_step(["-k", "meters"]) == ("pytest", ["pytest", "-k", "meters"])


def write_browser(folder, name, code=0):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {code}\n", "utf-8")
    path.chmod(0o755)
    return path


@posix_only
def test_chosen_browser_comes_first_and_must_start(tmp_path):
    chrome = write_browser(tmp_path, "google-chrome")
    chosen = write_browser(tmp_path, "mine")
    environment = {"PATH": str(tmp_path), "WATTBENCH_BROWSER": str(chosen)}
    assert find_browser.find_browser(environment) == str(chosen)
    assert find_browser.find_browser({"PATH": str(tmp_path)}) == str(chrome)
    write_browser(tmp_path, "mine", code=1)
    with pytest.raises(find_browser.NoBrowserError, match="does not start"):
        find_browser.find_browser(environment)


@posix_only
def test_browser_that_does_not_start_is_passed_over(tmp_path):
    write_browser(tmp_path, "google-chrome", code=127)
    chromium = write_browser(tmp_path, "chromium")
    assert find_browser.installed({"PATH": str(tmp_path)}) == str(chromium)
    assert find_browser.installed({"PATH": str(tmp_path / "empty")}) is None


def test_the_newest_releases_are_asked_for_without_pins(tmp_path, monkeypatch):
    """Of what is followed; every other requirement of ComfyUI stays as it is."""
    (tmp_path / "main.py").touch()
    (tmp_path / "requirements.txt").write_text("comfy-kitchen==0.2.26\ntorch\neinops==0.8\n")
    calls = []
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    monkeypatch.setattr(newest, "NEWEST", tmp_path / "newest")
    monkeypatch.setattr(newest, "find_uv", lambda: None)

    def call(command, failure, env=None):
        (tmp_path / "newest").mkdir(exist_ok=True)
        calls.append(command)

    monkeypatch.setattr(newest, "call", call)
    python = newest.make_newest()
    assert python.is_relative_to(tmp_path / "newest")
    assert calls[-1][:4] == [str(python), "-m", "pip", "install"]
    assert {"--upgrade", "torch", "comfy-kitchen"} <= set(calls[-1])
    written = (tmp_path / "newest" / "requirements.txt").read_text().split()
    assert written == ["comfy-kitchen", "torch", "einops==0.8"]
