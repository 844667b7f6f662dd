"""What stands around Ray: the token, the address, its absence. Nothing here starts a node."""

import os
import socket
import stat
import sys

import psutil
import pytest

from wattbench import cli
from wattbench.errors import CommandError, UsageError
from wattbench.fleet.cards import Card
from wattbench.fleet.ray_nodes import (
    TOKEN_FILE,
    UP_FILE,
    import_ray,
    make_token,
    open_addresses,
    ray_variables,
    read_up,
)
from wattbench.fleet.worker import _environment


@pytest.mark.parametrize(
    ("address", "listen", "is_found"),
    [
        ("127.0.0.1", "127.0.0.1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "192.0.2.1", False),
    ],
)
def test_who_listens_on_more_than_was_asked_for_is_found(address, listen, is_found):
    with socket.socket() as own:
        own.bind((address, 0))
        own.listen()
        wanted = f"{address}:{own.getsockname()[1]}"
        assert (wanted in open_addresses([psutil.Process()], listen)) is is_found


def test_a_token_is_made_once_and_for_its_owner_alone(home):
    path = make_token(home, None)
    text = path.read_text("ascii")
    assert len(text) == 64
    assert make_token(home, None).read_text("ascii") == text
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_token_that_is_given_takes_the_place_of_ones_own(home, tmp_path):
    make_token(home, None)
    given = tmp_path / "given"
    given.write_text("ab" * 32 + "\n", "ascii")
    assert make_token(home, given).read_text("ascii") == "ab" * 32
    with pytest.raises(UsageError, match="holds no token"):
        make_token(home, tmp_path / "none")
    assert (home / TOKEN_FILE).read_text("ascii") == "ab" * 32


def test_ray_tells_nobody_and_asks_for_a_token(home):
    found = ray_variables(home)
    assert found["RAY_USAGE_STATS_ENABLED"] == "0"
    assert (found["RAY_AUTH_MODE"], found["RAY_AUTH_TOKEN_PATH"]) == ("token", str(home / "token"))


def test_what_measures_sees_its_card_and_nothing_of_ray(home, monkeypatch):
    for name, value in ray_variables(home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = _environment(Card("oak", "Made", "GPU-1"))
    assert found["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert [name for name in found if name.startswith("RAY_")] == []
    assert _environment(Card("oak"))["CUDA_VISIBLE_DEVICES"] == ""


def test_without_ray_it_says_what_to_install_and_what_works_without(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CommandError, match=r"pip install 'wattbench\[fleet\]'.*--here"):
        import_ray()
    assert cli.main(["fleet", "up"]) == 1
    assert cli.main(["fleet", "status"]) == 0
    assert "WattBench" in capsys.readouterr().out


def test_an_old_ray_that_asks_for_no_token_is_refused(monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__version__="2.51.1"))
    with pytest.raises(CommandError, match=r"Ray 2\.51\.1 lets everybody in"):
        import_ray()
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__version__="2.52.0"))
    assert import_ray().__version__ == "2.52.0"


def test_who_has_ended_is_not_up(home):
    process = psutil.Process()
    text = '{"pid":%d,"created_s":%r,"address":"127.0.0.1:1","is_head":true,"folder":"x"}'
    home.mkdir()
    (home / UP_FILE).write_text(text % (process.pid, process.create_time()), "utf-8")
    assert read_up(home).address == "127.0.0.1:1"
    # The number came again for another process.
    (home / UP_FILE).write_text(text % (process.pid, process.create_time() - 2), "utf-8")
    assert read_up(home) is None
    (home / UP_FILE).write_text("{}", "utf-8")
    assert read_up(home) is None


def test_down_without_a_node_is_no_failure(capsys):
    assert cli.main(["fleet", "down"]) == 0
    assert "no node runs here" in capsys.readouterr().out


def test_to_join_a_token_is_needed(monkeypatch, capsys):
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__version__="2.60.0"))
    assert cli.main(["fleet", "up", "--join", "192.0.2.1:26379"]) == 2
    assert "its token is needed" in capsys.readouterr().err


@pytest.mark.parametrize("wait", ["-1", "inf", "x"])
def test_a_wait_has_a_bound(wait):
    with pytest.raises(SystemExit):
        cli.main(["fleet", "run", "attention", "--out", "x", "--wait", wait])
