"""The pieces of ``tasks.py`` and of the search for a browser."""

import hashlib
import importlib.util
import io
import json
import os
import sys
import tarfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load(name, file):
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tasks = load("tasks", ROOT / "tasks.py")
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
    tasks.unpack(archive, PurePosixPath("pack-1/vendor/ComfyUI"), tmp_path / "out")
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
    with pytest.raises(tasks.SetupError, match="leaves its folder"):
        tasks.unpack(archive, PurePosixPath("pack"), tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil.py"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_link_in_an_archive_is_refused(tmp_path, kind):
    archive = write_tar(tmp_path / "a.tar.gz", {"pack/link": (kind, "/etc/passwd")})
    with pytest.raises(tasks.SetupError, match="is a link"):
        tasks.unpack(archive, PurePosixPath("pack"), tmp_path / "out")
    assert not (tmp_path / "out" / "link").is_symlink()


def test_changed_download_is_refused(tmp_path):
    file = tmp_path / "comfy.tar.gz"
    file.write_bytes(b"genuine")
    tasks.check_sha256(file, hashlib.sha256(b"genuine").hexdigest())
    with pytest.raises(tasks.SetupError, match="was not unpacked"):
        tasks.check_sha256(file, tasks.SDIST_SHA256)


def test_stamp_covers_what_was_installed(tmp_path):
    stamp = tmp_path / "stamp.json"
    assert not tasks.is_installed(stamp, "abc", "headless")
    stamp.write_text("{", "utf-8")
    assert not tasks.is_installed(stamp, "abc", "headless")
    stamp.write_text(json.dumps({"fingerprint": "abc", "extra": "headless"}), "utf-8")
    assert tasks.is_installed(stamp, "abc", "headless")
    assert not tasks.is_installed(stamp, "abc", "dev")
    assert not tasks.is_installed(stamp, "changed", "headless")
    stamp.write_text(json.dumps({"fingerprint": "abc", "extra": "dev"}), "utf-8")
    assert tasks.is_installed(stamp, "abc", "headless")


def test_fingerprint_follows_what_is_asked_for(tmp_path, monkeypatch):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("torch\n", "utf-8")
    monkeypatch.delenv("WATTBENCH_TORCH_BACKEND", raising=False)
    first = tasks.fingerprint(requirements)
    assert tasks.fingerprint(requirements) == first
    requirements.write_text("torch\nnumpy\n", "utf-8")
    second = tasks.fingerprint(requirements)
    monkeypatch.setenv("WATTBENCH_TORCH_BACKEND", "cpu")
    assert len({first, second, tasks.fingerprint(requirements)}) == 3


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


def test_too_little_disk_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(tasks, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(tasks, "NEEDED_BYTES", 10**18)
    assert tasks.main(["setup"]) == 1
    assert "GB free and setting up needs about" in capsys.readouterr().err
    assert not (tmp_path / ".venv").exists()


def test_tests_ask_for_the_python_of_their_tools(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tasks, "DEVELOPERS_PYTHON", (99, 0))
    monkeypatch.setattr(tasks, "VENV", tmp_path / "none")
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
    monkeypatch.setattr(tasks, "venv_python", lambda: Path(sys.executable))
    steps = [("first", ["no_such_module"]), ("second", ["this"])]
    assert tasks.run_steps(steps) == 1
    printed = capfd.readouterr().out
    assert "first        FAILED (1)" in printed
    assert "The Zen of Python" in printed
    assert "second       ok" in printed
    assert tasks.run_steps(steps[1:]) == 0


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
