"""How far a node is, on one line that is written anew."""

import io
import sys

from wattbench.cli.terminal import Terminal


class Screen(io.StringIO):
    def isatty(self):
        return True


def looked_at(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    return screen


def test_the_time_that_is_left_is_that_of_the_steps_seen(monkeypatch):
    screen = looked_at(monkeypatch)
    times = iter([10.0, 20.0, 40.0, 50.0])
    terminal = Terminal(lambda: next(times))
    for done in (0, 5, 20, 25):
        terminal.progress(done, 100)
    lines = screen.getvalue().replace("\x1b[K", "").split("\r")
    assert lines[:4] == [
        "  0/100",
        "  5/100, 3:10 left",
        "  20/100, 2:00 left",
        "  25/100, 2:00 left",
    ]


def test_another_node_begins_anew(monkeypatch):
    screen = looked_at(monkeypatch)
    times = iter([0.0, 10.0, 11.0])
    terminal = Terminal(lambda: next(times))
    terminal.progress(0, 10)
    terminal.progress(10, 10)
    terminal.say("next")
    terminal.progress(1, 10)
    assert screen.getvalue().endswith("next\n  1/10\x1b[K\r")


def test_nobody_looks_at_a_file(monkeypatch):
    found = io.StringIO()
    monkeypatch.setattr(sys, "stdout", found)
    Terminal().progress(1, 2)
    assert found.getvalue() == ""
