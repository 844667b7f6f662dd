"""A server whose nodes write a journal without measuring, and workflows for it."""

from __future__ import annotations

import json
import os
import sysconfig
import time
import venv
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from wattbench.hosts.remote.server import ComfyServer, find_comfyui

ON_CPU = ("--cpu", "--cache-classic", "--disable-api-nodes")
"""What ComfyUI holds in its cache must not follow from how much memory the machine has free.

Nodes that ask services elsewhere take a second of each start, and most of what it says of nodes.
"""

JOURNAL_PACK = Path(__file__).parent / "data" / "journal_pack"


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory):
    """A Python with every package of this one, but without WattBench as an installed package.

    That is how ComfyUI's Python finds a git clone in ``custom_nodes``: by its folder alone. The
    files by which an editable installation is found are not read in a folder that a ``.pth`` names.
    """
    folder = tmp_path_factory.mktemp("bare")
    builder = venv.EnvBuilder(symlinks=os.name != "nt")
    python = Path(builder.ensure_directories(folder).env_exe)
    builder.create(folder)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return python


@pytest.fixture(scope="session")
def journal_server(tmp_path_factory):
    """One server for all tests; to it ComfyUI is a user's, because it lies outside the pack."""
    base = tmp_path_factory.mktemp("journal_server")
    users = base / "users" / "ComfyUI"
    users.parent.mkdir()
    users.symlink_to(find_comfyui(), target_is_directory=True)
    with ComfyServer(
        users, base_directory=base, arguments=ON_CPU, pack_root=JOURNAL_PACK
    ) as server:
        yield server


@pytest.fixture
def write_workflow(tmp_path):
    """Write EmptyImage -> a node of the journal pack -> SaveImage in API format."""

    def write(node="WattBenchBenchmark", **inputs):
        graph = {
            "1": {
                "class_type": "EmptyImage",
                "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255},
            },
            "2": {"class_type": node, "inputs": {"image": ["1", 0], **inputs}},
            "3": {
                "class_type": "SaveImage",
                "inputs": {"images": ["2", 0], "filename_prefix": "test"},
            },
        }
        path = tmp_path / "workflow.json"
        path.write_text(json.dumps(graph), "utf-8")
        return path

    return write


@dataclass(frozen=True)
class LimitedBoard:
    """A simulated board whose power limit outlives processes, as a real one's does."""

    environment: dict[str, str]
    file: Path

    def limits_w(self):
        """Every limit that was set so far, repetitions left out."""
        if not self.file.exists():
            return []
        set_w = [float(line.split()[1]) / 1000 for line in self.file.read_text().splitlines()]
        return [limit for limit, _ in groupby(set_w)]


@pytest.fixture
def limited_board(simulated_nvml, tmp_path):
    """A function that makes a board with a limit of 350 W that wants 300 W; extra directives."""

    def make(*directives):
        file = tmp_path / "limits"
        script = [
            f"origin {time.perf_counter() - 10}",
            *("gpu", "uuid GPU-1", "name Simulated", "pci 0:1:0", "power -100 300"),
            *("limit_mw 350000", f"limits {file}", "memory 8000000000 0 1000000000"),
        ]
        environment = simulated_nvml("\n".join([*script, *directives]) + "\n")
        ours = {"WATTBENCH_METER": "nvml:0", "WATTBENCH_STATE_FOLDER": str(tmp_path / "state")}
        return LimitedBoard({**environment, **ours}, file)

    return make
