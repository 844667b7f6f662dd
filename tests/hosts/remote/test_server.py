"""Starting, linking and stopping a real ComfyUI."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from wattbench.errors import CommandError, UsageError
from wattbench.hosts.remote.client import ComfyClient, ServerUnreachableError
from wattbench.hosts.remote.server import (
    ComfyServer,
    ServerError,
    device_arguments,
    end_process_tree,
    find_comfyui,
    link_pack,
)

from ...waiting import until

JOURNAL_PACK = Path(__file__).parents[2] / "data" / "journal_pack"

posix_only = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def test_server_answers_with_the_packs_nodes(journal_server):
    nodes = journal_server.client.get_json("/object_info")
    assert nodes["WattBenchBenchmark"]["python_module"] == "custom_nodes.wattbench"
    assert journal_server.is_running()


def test_server_leaves_the_users_comfyui_alone(journal_server):
    comfyui = journal_server.comfyui
    assert not (comfyui / "user" / "comfyui.db").exists()
    assert not (comfyui / "custom_nodes" / "wattbench").exists()
    link = journal_server.base_directory / "custom_nodes" / "wattbench"
    assert link.samefile(JOURNAL_PACK)


def test_models_of_a_users_comfyui_are_found(journal_server):
    paths = journal_server.client.get_json("/internal/folder_paths")
    assert str(journal_server.models_directory / "checkpoints") in paths["checkpoints"]
    assert journal_server.models_directory == journal_server.comfyui / "models"


def test_pack_that_does_not_load_is_an_error_with_the_log(tmp_path):
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "__init__.py").write_text("raise RuntimeError('broken on purpose')\n", "utf-8")
    server = ComfyServer(
        find_comfyui(), base_directory=tmp_path / "base", arguments=["--cpu"], pack_root=pack
    )
    with pytest.raises(ServerError, match=r"(?s)without WattBench's nodes.*broken on purpose"):
        server.__enter__()
    assert not server.is_running()


def test_comfyui_that_ends_at_once_is_an_error_with_the_log(tmp_path):
    server = ComfyServer(find_comfyui(), base_directory=tmp_path, arguments=["--no-such-option"])
    with pytest.raises(ServerError, match=r"(?s)ended while starting.*--no-such-option"):
        server.__enter__()


def test_comfyui_that_is_too_slow_is_stopped(tmp_path):
    server = ComfyServer(
        find_comfyui(), base_directory=tmp_path, arguments=["--cpu"], startup_timeout_s=0.5
    )
    with pytest.raises(ServerError, match=r"did not answer within 0\.5 s"):
        server.__enter__()
    assert not server.is_running()


def test_a_start_says_what_it_waits_for(tmp_path, monkeypatch):
    monkeypatch.setattr("wattbench.hosts.remote.server.SAID_EVERY_S", 0.0)
    (tmp_path / "main.py").write_text(
        "import time\nprint('importing torch', flush=True)\ntime.sleep(600)\n", "utf-8"
    )
    told = []

    def say(text):
        told.append(text)
        if "importing torch" in text:
            raise InterruptedError

    server = ComfyServer(tmp_path, base_directory=tmp_path / "base", python=sys.executable, say=say)
    (tmp_path / "base").mkdir()
    with pytest.raises(InterruptedError):
        server.__enter__()
    assert told[0] == "waiting for ComfyUI, 0 s: no word yet"
    assert told[-1].endswith(" s: importing torch")
    assert not server.is_running()


def test_port_in_use_is_refused_before_anything_starts(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server = ComfyServer(find_comfyui(), base_directory=tmp_path, port=port)
        with pytest.raises(UsageError, match=f"port {port} is in use"):
            server.__enter__()
    assert not server.log_path.exists()


def test_folder_without_comfyui_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no ComfyUI in .*main\.py"):
        find_comfyui(tmp_path)


def test_a_pack_in_custom_nodes_finds_the_comfyui_around_it(tmp_path, monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    pack = tmp_path / "custom_nodes" / "wattbench"
    with pytest.raises(UsageError, match=r"tasks\.py setup"):
        find_comfyui(pack_root=pack)
    (tmp_path / "main.py").touch()
    assert find_comfyui(pack_root=pack) == tmp_path.resolve()


def test_comfyui_path_is_used(tmp_path, monkeypatch):
    (tmp_path / "main.py").touch()
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    assert find_comfyui() == tmp_path.resolve()


def test_device_arguments():
    import torch

    assert device_arguments("cpu") == ["--cpu"]
    if torch.cuda.is_available():
        assert device_arguments("cuda") == []
    else:
        with pytest.raises(UsageError, match="torch sees no CUDA"):
            device_arguments("cuda")


def test_link_is_kept_moved_and_never_replaces_a_folder(tmp_path):
    first, second, nodes = tmp_path / "first", tmp_path / "second", tmp_path / "custom_nodes"
    first.mkdir()
    second.mkdir()
    link_pack(first, nodes)
    link_pack(first, nodes)
    assert (nodes / "wattbench").samefile(first)
    link_pack(second, nodes)
    assert (nodes / "wattbench").samefile(second)
    (nodes / "wattbench").unlink()
    (nodes / "wattbench").mkdir()
    with pytest.raises(CommandError, match="Remove what is there"):
        link_pack(first, nodes)


def test_client_names_a_server_that_is_not_there():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(ServerUnreachableError, match=f"no ComfyUI answers at 127.0.0.1:{port}"):
            ComfyClient("127.0.0.1", port).get_json("/system_stats")


def test_client_reads_only_what_a_file_gained(journal_server):
    folder = journal_server.output_directory / "sub"
    folder.mkdir(parents=True)
    client = journal_server.client
    assert client.output_size("file.jsonl", "sub") == 0
    assert client.output_from("file.jsonl", "sub", 0) == b""
    (folder / "file.jsonl").write_bytes(b"")
    assert client.output_size("file.jsonl", "sub") == 0
    (folder / "file.jsonl").write_bytes(b"first\n")
    assert client.output_size("file.jsonl", "sub") == 6
    assert client.output_from("file.jsonl", "sub", 6) == b""
    (folder / "file.jsonl").write_bytes(b"first\nsecond\n")
    assert client.output_from("file.jsonl", "sub", 6) == b"second\n"


@posix_only
def test_children_that_ignore_sigterm_are_killed():
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)'])\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    assert len(family) == 2
    end_process_tree(process, patience_s=0.3)
    assert not any(is_alive(member) for member in family)


@posix_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signal_leaves_no_orphan(tmp_path, number):
    script = (
        "import sys, signal\n"
        "from pathlib import Path\n"
        "from wattbench import cli\n"
        "from wattbench.hosts.remote import server\n"
        f"server.PACK_ROOT = Path({str(tmp_path / 'pack')!r})\n"
        f"sys.exit(cli.main(['serve', '--comfyui', {str(find_comfyui())!r}, '--device', 'cpu',"
        " '--port', str(server.free_port())]))\n"
    )
    shutil.copytree(JOURNAL_PACK, tmp_path / "pack")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    family = until(lambda: family_with_comfyui(process), 300, 0.1)
    process.send_signal(number)
    assert process.wait(timeout=300) in (0, 130, -signal.SIGKILL)
    until(lambda: not any(is_alive(member) for member in family))


def is_alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command_of(process):
    """Its command line; empty where it has just ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def family_with_comfyui(process):
    """The process's descendants, once ComfyUI is one of them; else ``None``."""
    assert process.poll() is None, "it ended before it started ComfyUI"
    family = psutil.Process(process.pid).children(recursive=True)
    return family if any("main.py" in command_of(member) for member in family) else None


@pytest.mark.parametrize(
    "arguments", [["--models-directory", "mine"], ["--cpu", "--models-directory=mine"]]
)
def test_the_folder_of_models_is_the_one_that_was_asked_for(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    server = ComfyServer(find_comfyui(), base_directory=tmp_path / "base", arguments=arguments)
    assert server.models_directory == tmp_path / "mine"
