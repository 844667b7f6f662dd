"""What a wheel holds, and what the Comfy Registry reads of ``pyproject.toml``."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from comfy_cli.file_utils import zip_files
from comfy_cli.registry.config_parser import extract_node_configuration

ROOT = Path(__file__).parents[1]
OUTSIDE = {"tests", "benchmarks", "docs", "tooling", "results"}
FORMATS = {".py", ".js", ".css", ".md", ".json", ".jpg", ".csv"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, unpacked; it is built from a copy, for building leaves a folder behind."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.split("\0"):
        if name and name.split("/")[0] not in OUTSIDE and (ROOT / name).is_file():
            copy = folder / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run(command, check=True, capture_output=True)
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "installed")
    return folder


def test_wheel_holds_all_that_comfyui_serves_of_a_pack(wheel):
    source, installed = wheel / "source", wheel / "installed" / "wattbench"
    files = {path.relative_to(source) for path in source.rglob("*") if path.suffix in FORMATS}
    top = {path for path in files if len(path.parts) == 1}
    needed = (files - top) | {Path("__init__.py"), Path("__main__.py"), Path("offer.py")}
    needed = {path for path in needed if path.parts[0] != "build"}
    assert {path for path in needed if not (installed / path).is_file()} == set()


def test_wheel_runs_without_its_checkout(wheel):
    code = "from wattbench.measure.recording import environment as e\n"
    code += "print(e.__file__, e.pack_version(), sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": str(wheel / "installed")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    file, version = done.stdout.splitlines()
    assert Path(file).is_relative_to(wheel)
    assert version == extract_node_configuration(str(ROOT / "pyproject.toml")).project.version


def test_the_registry_can_read_the_project(capsys):
    found = extract_node_configuration(str(ROOT / "pyproject.toml"))
    assert capsys.readouterr().out == ""
    assert (found.tool_comfy.publisher_id, found.tool_comfy.display_name) == (
        "wattbench",
        "WattBench",
    )
    assert found.project.supported_comfyui_version == ">=0.30.0"
    assert found.project.supported_os == ["Microsoft :: Windows", "POSIX :: Linux", "MacOS"]
    assert found.project.supported_accelerators == ["GPU :: NVIDIA CUDA", "GPU :: AMD ROCm"]
    repository = found.project.urls.repository
    owner_and_name = repository.removeprefix("https://github.com/")
    for picture, limits in (
        (found.tool_comfy.icon, (400, 1)),
        (found.tool_comfy.banner_url, (None, 21 / 9)),
    ):
        folder = f"https://raw.githubusercontent.com/{owner_and_name}/main/"
        file = ROOT / picture.removeprefix(folder)
        check_picture(file, *limits)
    requirements = (ROOT / "requirements.txt").read_text("utf-8").split()
    assert found.project.dependencies == requirements


def check_picture(file, widest_px, ratio):
    """The registry's rules: an icon of at most 400 x 400 pixels, a banner of 21 to 9."""
    root = ElementTree.parse(file).getroot()
    width, height = int(root.get("width")), int(root.get("height"))
    assert root.get("viewBox") == f"0 0 {width} {height}"
    assert width / height == pytest.approx(ratio)
    assert widest_px is None or width <= widest_px


def test_the_registrys_archive_holds_the_pack_and_no_more(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    zip_files(tmp_path / "node.zip")
    with zipfile.ZipFile(tmp_path / "node.zip") as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    assert not top & {"tests", "benchmarks", "tasks.py", "tooling", "results", ".ci"}
    assert {"__init__.py", "nodes", "web", "workflows", "locales", "requirements.txt"} <= top
    modules = {name for name in names if name.endswith(".py")}
    assert not [name for name in modules if name.split("/")[-1].startswith("test_")]
