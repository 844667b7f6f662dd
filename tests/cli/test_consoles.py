"""Every command writes on every console: its help, and what is wrong with a name it was given."""

import contextlib
import io
import sys

import pytest

from wattbench import cli

NAMED = "no ± 画 × place"
"""Of a file that is not there; no console but UTF-8 has all of it."""

WRONG = {
    "run": ("FILE.json", "--out", "DIR"),
    "tune": ("FILE.json", "--out", "DIR"),
    "matrix": ("FILE.toml", "--out", "DIR", "--dry-run"),
    "powercap": ("FILE.json", "--out", "DIR", "--watts", "150"),
    "summary": ("FILE.csv",),
    "report": ("FILE",),
    "compare": ("FILE", "FILE 2", "--out", "DIR"),
    "journal": ("check", "FILE.jsonl"),
    "bundle": ("FILE", "--out", "DIR"),
    "verify": ("FILE.wattbench",),
    "merge": ("FILE", "--out", "DIR"),
    "leaderboard": ("FILE", "--out", "DIR"),
    "quantize": ("FILE.safetensors", "DIR.safetensors", "--format", "fp8"),
    "fleet": ("run", "FILE.toml", "--out", "DIR"),
}


@pytest.fixture(params=["ascii", "cp437", "cp932"])
def said(request, monkeypatch):
    """Call a command on such a console: its exit code, and what it wrote, decoded."""

    def call(*arguments):
        raw = [io.BytesIO(), io.BytesIO()]
        streams = [io.TextIOWrapper(one, encoding=request.param) for one in raw]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        code = None
        with contextlib.suppress(SystemExit):
            code = cli.main(arguments)
        for stream in streams:
            stream.flush()
        monkeypatch.undo()
        return code, "".join(one.getvalue().decode(request.param) for one in raw)

    return call


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help(said, command):
    code, text = said(command, "--help")
    assert code is None
    assert f"wattbench {command}" in text


@pytest.mark.parametrize("command", WRONG)
def test_a_name_that_is_not_there(said, command, tmp_path):
    here = str(tmp_path / NAMED)
    out = str(tmp_path / "out ±")
    words = [w.replace("FILE", here).replace("DIR", out) for w in WRONG[command]]
    code, text = said(command, *words)
    assert code in (1, 2)
    assert "Traceback" not in text
    assert " place" in text
