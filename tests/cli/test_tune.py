"""What `wattbench tune` refuses before anything is measured."""

import json

import pytest

from wattbench.cli import main


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--max-lpips", "0.1"], "needs --lpips-model"),
        (["--lpips-model", "none"], "--max-lpips X needs"),
        (["--max-lpips", "0.1", "--lpips-model", "none"], "--lpips-model none: "),
    ],
)
def test_lpips_needs_its_network(tmp_path, monkeypatch, capsys, given, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moth.json").write_text(
        json.dumps({"1": {"class_type": "SaveImage", "inputs": {}}}), "utf-8"
    )
    assert main(["tune", "moth.json", "--out", "out", *given]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
