"""The command itself: help, version, and what a wrong word may have meant."""

import pytest

from wattbench.cli import COMMANDS, main
from wattbench.measure.recording.environment import pack_version


def test_alone_it_prints_its_help(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: wattbench")
    assert {*COMMANDS} <= {line.split(" ")[4] for line in said.splitlines() if line[:4] == " " * 4}


def test_it_tells_its_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wattbench {pack_version()}\n"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["sumary"], "summary"),
        (["doctr"], "doctor"),
        (["law", "predcit"], "predict"),
        (["run", "a.json", "--out", "x", "--visist", "3"], "--visits"),
        (["serve", "--prot", "8000"], "--port"),
        (["serve", "--devise=cpu"], "--device"),
    ],
)
def test_a_wrong_word_names_the_near_one(capsys, arguments, meant):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert f"Did you mean {meant}" in capsys.readouterr().err


def test_a_word_that_is_near_nothing_gets_no_guess(capsys):
    with pytest.raises(SystemExit):
        main(["xyzzy"])
    said = capsys.readouterr().err
    assert "invalid choice" in said
    assert "Did you mean" not in said
