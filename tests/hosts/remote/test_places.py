"""Where a server of our own finds its Python and keeps its files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wattbench import requirements
from wattbench.hosts.remote import places

posix_only = pytest.mark.skipif(os.name == "nt", reason="POSIX folders and links")


@pytest.fixture
def comfyui(tmp_path):
    folder = tmp_path / "apps" / "ComfyUI"
    folder.mkdir(parents=True)
    return folder


@posix_only
def test_files_of_a_server_lie_in_a_checkout_or_among_the_users_data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    users = tmp_path / "data" / "wattbench"
    checkout = tmp_path / "clone"
    checkout.mkdir()
    assert places.default_base_directory(checkout) == users, "a wheel has no tasks.py"
    (checkout / "tasks.py").touch()
    assert places.default_base_directory(checkout) == checkout / ".comfyui" / "base"
    installed = tmp_path / "custom_nodes" / "wattbench"
    installed.mkdir(parents=True)
    (installed / "tasks.py").touch()
    assert places.default_base_directory(installed) == users
    monkeypatch.delenv("XDG_DATA_HOME")
    assert places.user_data_folder() == Path.home() / ".local" / "share"


@posix_only
@pytest.mark.parametrize("place", [".venv", "venv", "../.venv", "../venv"])
def test_the_python_of_a_users_comfyui_is_found(comfyui, bare_python, place):
    assert places.choose_python(comfyui) == (Path(sys.executable), "")
    environment = Path(os.path.normpath(comfyui / place))
    environment.symlink_to(bare_python.parent.parent, target_is_directory=True)
    python, note = places.choose_python(comfyui)
    assert python == environment / "bin" / "python"
    assert note == f"ComfyUI runs with {python} and its torch"


@posix_only
def test_a_python_that_lacks_something_is_not_used_and_that_is_said(comfyui):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", comfyui / "venv"], check=True)
    theirs = comfyui / "venv" / "bin" / "python"
    python, note = places.choose_python(comfyui)
    assert python == Path(sys.executable)
    assert "not with its own Python" in note
    assert requirements.complaint(["torch", *requirements.REQUIRED], str(theirs)) in note
    theirs.unlink()
    theirs.write_text("#!/bin/sh\necho broken >&2; exit 3\n", "utf-8")
    theirs.chmod(0o755)
    python, note = places.choose_python(comfyui)
    assert python == Path(sys.executable)
    assert "does not start: broken" in note


@posix_only
def test_a_link_that_leads_nowhere_is_replaced(tmp_path):
    pack, nodes = tmp_path / "a & b", tmp_path / "ünder & über" / "custom_nodes"
    pack.mkdir()
    nodes.mkdir(parents=True)
    (nodes / "wattbench").symlink_to(tmp_path / "gone")
    places.link_pack(pack, nodes)
    assert (nodes / "wattbench").samefile(pack)


def test_a_folder_that_cannot_be_made_is_an_error_in_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(places.LinkError, match=r"cannot link the pack as .*see that the folder"):
        places.link_pack(tmp_path, tmp_path / "file" / "custom_nodes")


def test_the_test_server_runs_without_the_package_installed(comfy_server, bare_python):
    """So an absolute import of the pack's own name would have ended it."""
    code = "import torch, pandas, importlib.util as u; print(u.find_spec('wattbench'))"
    done = subprocess.run([bare_python, "-I", "-c", code], capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == "None"
    assert comfy_server.python == bare_python
    nodes = comfy_server.client.get_json("/object_info")
    assert nodes["WattBenchBenchmark"]["python_module"] == "custom_nodes.wattbench"
