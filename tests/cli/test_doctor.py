"""The cross-check of doctor. The tools are scripts that answer what a test tells them."""

import subprocess
import sys
import threading

import pytest

from wattbench.cli import vendor_tools
from wattbench.cli.crosscheck import crosscheck, differences
from wattbench.cli.vendor_tools import ToolError, nvidia_smi, rocm_smi
from wattbench.measure.meters.facts import BoardFacts, amdgpu_facts

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the scripts need a shell")

BOARD = """
gpu
uuid GPU-1
name Simulated
pci 0:41:0
power -100 300
limit_mw 350000
memory 24000000000 0 1000000000
"""
ROCM = """
WARNING: AMD GPU device(s) is/are in a low-power state.
{"card0": {"PCI Bus": "0000:0A:00.0", "Card Series": "Radeon Pro VII",
 "Average Graphics Package Power (W)": "187.0", "Max Graphics Package Power (W)": "250.0",
 "VRAM Total Memory (B)": "17163091968"}, "system": {"Driver version": "6.8.5"}}
"""


@pytest.fixture
def put_tool(tmp_path, monkeypatch):
    """Call ``put_tool("nvidia-smi", text)``: the only tool on PATH prints it and exits."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name, text, code=0, before=""):
        (folder / f"{name}.txt").write_text(text)
        tool = folder / name
        lines = ["#!/bin/sh", before, f"while read -r line; do echo \"$line\"; done < '{tool}.txt'"]
        tool.write_text("\n".join([*lines, f"exit {code}"]) + "\n")
        tool.chmod(0o755)

    return put


@posix_only
def test_nvidia_smi_is_understood(put_tool):
    put_tool(
        "nvidia-smi",
        "00000000:41:00.0, NVIDIA A100, 580.65, 61.31, 400.00, 81920\n"
        "00000000:42:00.0, Tesla T4, 580.65, [N/A], [Not Supported], 15360\n",
    )
    first, second = nvidia_smi()
    assert first == BoardFacts(
        "00000000:41:00.0", "NVIDIA A100", "580.65", 61.31, 400.0, 81920 * 2**20
    )
    assert (second.power_w, second.power_limit_w, second.memory_bytes) == (
        None,
        None,
        15360 * 2**20,
    )


@posix_only
def test_rocm_smi_is_understood(put_tool):
    put_tool("rocm-smi", ROCM)
    assert rocm_smi() == [
        BoardFacts("0000:0A:00.0", "Radeon Pro VII", "6.8.5", 187.0, 250.0, 17163091968)
    ]


@posix_only
@pytest.mark.parametrize(
    ("ask", "tool", "text", "code", "message"),
    [
        (nvidia_smi, "nvidia-smi", "No devices were found\n", 6, r"failed \(code 6\): No devices"),
        (nvidia_smi, "nvidia-smi", "one, two\n", 0, "'one,two', which is not understood"),
        (rocm_smi, "rocm-smi", "nothing here\n", 0, "answered no JSON"),
        (rocm_smi, "rocm-smi", '{"a":' * 100_000 + "\n", 0, "answered no JSON"),
        (rocm_smi, "nvidia-smi", "", 0, "rocm-smi is not on PATH"),
    ],
)
def test_tools_that_do_not_tell(put_tool, ask, tool, text, code, message):
    put_tool(tool, text, code)
    with pytest.raises(ToolError, match=message):
        ask()


@posix_only
@pytest.mark.parametrize(
    ("document", "found"),
    [
        ("{}", []),
        ('{"card0": "N/A", "system": []}', []),
        ('{"card0": {}, "system": "N/A"}', [BoardFacts("", "", "", None, None, None)]),
        (
            '{"card0": {"VRAM Total Memory (B)": 1024, "Card Series": "N/A", "PCI Bus": null, '
            '"Current Socket Graphics Package Power (W)": "nan"}}',
            [BoardFacts("None", "", "", None, None, 1024)],
        ),
    ],
)
def test_what_rocm_smi_does_not_tell_is_blank(put_tool, document, found):
    put_tool("rocm-smi", document + "\n")
    assert rocm_smi() == found


@posix_only
@pytest.mark.parametrize("value", ["[N/A]", "nan", "inf", "-inf", ""])
def test_what_nvidia_smi_does_not_tell_is_blank(put_tool, value):
    put_tool("nvidia-smi", f"0:1:0, GPU, 580, {value}, {value}, {value}\n")
    assert nvidia_smi() == [BoardFacts("0:1:0", "GPU", "580", None, None, None)]


@posix_only
def test_tool_that_hangs_is_left(put_tool, monkeypatch):
    monkeypatch.setattr(vendor_tools, "TIMEOUT_S", 0.2)
    put_tool("nvidia-smi", "", before="while :; do :; done")
    with pytest.raises(ToolError, match=r"did not answer within 0\.2 s"):
        nvidia_smi()


def crosschecked(environment):
    """The lines of a process that has a simulated board."""
    code = "from wattbench.cli.crosscheck import crosscheck; print('\\n'.join(crosscheck()))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@posix_only
def test_a_tool_that_cannot_be_ended_is_left(put_tool, monkeypatch):
    """In uninterruptible sleep a process outlives SIGKILL, and whoever waits for it waits on."""
    put_tool("nvidia-smi", "exit 0")
    gone = threading.Event()
    monkeypatch.setattr(vendor_tools.subprocess, "run", lambda *_, **__: gone.wait())
    monkeypatch.setattr(vendor_tools, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(vendor_tools, "KILL_S", 0.1)
    try:
        with pytest.raises(ToolError, match=r"within 0.1 s and cannot be ended.*Restart"):
            nvidia_smi()
    finally:
        gone.set()


@posix_only
def test_nvidia_smi_against_a_simulated_nvml(put_tool, simulated_nvml, monkeypatch):
    """The memory is wrong on purpose; the second board is not there."""
    put_tool(
        "nvidia-smi",
        "00000000:41:00.0, Simulated, 999.99, 302.50, 350.00, 20000\n"
        "00000000:42:00.0, Simulated, 999.99, 302.50, 350.00, 22888\n",
    )
    assert crosschecked(simulated_nvml(BOARD)) == [
        "  nvidia-smi lists 2 boards, NVML 1 board",
        "  00000000:41:00.0: nvidia-smi against NVML",
        "    name    agree: Simulated",
        "    driver  agree: 999.99",
        "    power   agree: 302.5 W",
        "    limit   agree: 350.0 W",
        "    memory  DIFFER: 20000.0 MiB and 22888.2 MiB",
        "  nvidia-smi lists a board at 00000000:42:00.0 that NVML does not",
        "  rocm-smi is not on PATH",
    ]


@posix_only
def test_tool_without_a_library_beside_it(put_tool, simulated_nvml):
    put_tool("nvidia-smi", "00000000:41:00.0, Simulated, 999.99, 302.50, 350.00, 20000\n")
    first, _ = crosschecked(simulated_nvml("init 9\n"))
    assert first.startswith("  nvidia-smi lists 1 board, NVML cannot be asked: nvmlInit answered")


def test_absent_tools_are_said_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(crosscheck()) == ["  nvidia-smi is not on PATH", "  rocm-smi is not on PATH"]


def test_differences_and_what_is_not_told():
    theirs = BoardFacts("0:1:0", "a card", "580.65", 100.0, 250.0, 2**30)
    ours = BoardFacts("0:1:0", "A Card ", "", 131.0, 250.4, 2**30 + 1000)
    assert list(differences(theirs, ours)) == [
        "    name    agree: a card",
        "    driver  not compared: one of them does not tell",
        "    power   DIFFER: 100.0 W and 131.0 W",
        "    limit   agree: 250.0 W",
        "    memory  agree: 1024.0 MiB",
    ]


def test_facts_of_the_kernels_files(tmp_path):
    device = tmp_path / "devices" / "0000:0a:00.0"
    hwmon = tmp_path / "class" / "hwmon" / "hwmon4"
    for folder in (device, hwmon, tmp_path / "module" / "amdgpu"):
        folder.mkdir(parents=True)
    (hwmon / "device").symlink_to(device)
    for path, value in (
        (hwmon / "name", "amdgpu"),
        (hwmon / "power1_input", 187_000_000),
        (hwmon / "power1_cap", 250_000_000),
        (device / "mem_info_vram_total", 17163091968),
        (tmp_path / "module" / "amdgpu" / "version", "6.8.5"),
    ):
        path.write_text(f"{value}\n")
    assert amdgpu_facts(tmp_path) == [
        BoardFacts("0000:0a:00.0", "", "6.8.5", 187.0, 250.0, 17163091968)
    ]
