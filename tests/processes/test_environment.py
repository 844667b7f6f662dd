import json
import subprocess
import sys
import urllib.request

import pytest

from wattbench.processes.environment import child_environment

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


def bypassed(environment, *hosts):
    """Which of ``hosts`` Python, started with ``environment``, speaks to without the proxy."""
    code = "import json, sys, urllib.request as r; print(json.dumps([h for h in sys.argv[1:] "
    code += "if r.proxy_bypass(h)]))"
    command = [sys.executable, "-c", code, *hosts]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_loopback_is_reached_directly_and_the_users_exceptions_stay(monkeypatch, variable):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv(variable, "example.org, .lab")
    environment = child_environment(direct=["gpu-box"])
    hosts = ["127.0.0.1", "localhost", "::1", "gpu-box", "example.org", "a.lab"]
    assert bypassed(environment, *hosts, "example.com") == hosts
    assert environment["NO_PROXY"] == environment["no_proxy"]
    assert environment["HTTP_PROXY"] == "http://127.0.0.1:9"


def test_no_proxy_at_all_stays(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    assert child_environment()["no_proxy"] == child_environment()["NO_PROXY"] == "*"


def test_proxies_of_the_systems_settings_are_passed_on(monkeypatch):
    settings = {"http": "http://proxy:3128", "ftp": "ftp://proxy:21"}
    monkeypatch.setattr(urllib.request, "getproxies", lambda: settings)
    environment = child_environment()
    assert environment["http_proxy"] == "http://proxy:3128"
    assert not {"ftp_proxy", "https_proxy"} & set(environment)
    monkeypatch.setenv("https_proxy", "http://mine:1")
    assert "http_proxy" not in child_environment()


def test_a_python_child_writes_and_reads_utf8(tmp_path):
    file = tmp_path / "é.txt"
    file.write_text("日本 ✓", "utf-8")
    extra = {"PYTHONIOENCODING": "cp932", "PYTHONUTF8": "0", "LC_ALL": "C", "OURS": "1"}
    environment = child_environment(extra)
    assert environment["OURS"] == "1"
    code = "import sys; print(open(sys.argv[1]).read())"
    command = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    assert done.stdout.decode("utf-8").strip() == "日本 ✓"
