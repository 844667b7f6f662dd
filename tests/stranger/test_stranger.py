"""Every command on the machine of a stranger.

Another user, whose home cannot be written; a folder with spaces and umlauts; a system whose
encoding is Japanese; a proxy that is dead.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from wattbench.cli import COMMANDS
from wattbench.hosts.remote.comfy_run import to_api_format
from wattbench.measure.protocol.journal import Journal

DEAD_PROXY = "http://127.0.0.1:9"
NOBODY = 65534
MODE = "'[rwaxbt+]+'"
OUTSIDE = {"tests", "benchmarks", "docs"}
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="users and encodings as POSIX has them")


def as_another_user():
    """What is put before a command to run it as ``nobody``; nothing where that cannot be done."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        return []
    prefix = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    code = (
        "import subprocess, sys, wattbench; subprocess.run([sys.executable, '-c', ''], check=True)"
    )
    done = subprocess.run([*prefix, sys.executable, "-c", code], capture_output=True)
    return prefix if done.returncode == 0 else []


@pytest.fixture(scope="module")
def prefix():
    return as_another_user()


@pytest.fixture
def folder(tmp_path, prefix):
    """A folder of the stranger's, with spaces and umlauts."""
    folder = tmp_path / "Größe und Maß"
    folder.mkdir()
    if prefix:
        os.chown(folder, NOBODY, NOBODY)
        for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            parent.chmod(0o755)
    return folder


@pytest.fixture
def environment(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PYTHONIOENCODING": "cp932",
        **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), DEAD_PROXY),
        # Where the bytecode of what they find installed lies.
        **({"PYTHONPYCACHEPREFIX": sys.pycache_prefix} if sys.pycache_prefix else {}),
    }


@pytest.fixture
def wattbench(prefix, folder, environment):
    """Call ``wattbench`` as the stranger does: what it did, its output decoded as cp932."""

    def call(*line):
        command = [*prefix, sys.executable, "-m", "wattbench", *map(str, line)]
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            encoding="cp932",
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "UnicodeEncodeError" not in done.stderr
        return done

    return call


@pytest.fixture
def journal(make_run, folder):
    """Two runs of a model whose name cp932 lacks."""
    path = folder / "journal é.jsonl"
    for number in range(2):
        run = make_run(run_id=f"run {number}", seed=number)
        condition = replace(run.condition, model="modèle ✓ 日本")
        Journal(path).append(replace(run, condition=condition))
    path.chmod(0o644)
    return path


@pytest.fixture
def weights(folder):
    path = folder / "modèle.safetensors"
    random = torch.Generator().manual_seed(0)
    save_file({"blocks.0.attn.weight": torch.randn(64, 64, generator=random)}, path)
    path.chmod(0o644)
    return path


def expect_run(wattbench, request, folder):
    server = request.getfixturevalue("journal_server")
    workflow = request.getfixturevalue("write_workflow")(repeats=1, seed=3, then="succeed")
    named = folder / "ワークフロー é.json"
    shutil.copyfile(workflow, named)
    out = folder / "out"
    done = wattbench("run", named, "--server", server.client.address, "--out", out)
    assert done.returncode == 0, done.stderr
    assert list(pd.read_csv(out / "runs.csv")["seed"]) == [3]


def expect_summary(wattbench, request, folder):
    out = folder / "out"
    done = wattbench("summary", request.getfixturevalue("journal"), "--out", out)
    assert done.returncode == 0, done.stderr
    assert "mod?le ? 日本" in done.stdout
    assert set(pd.read_csv(out / "runs.csv", encoding="utf-8")["model"]) == {"modèle ✓ 日本"}


def expect_report(wattbench, request, folder):
    out = folder / "Seite é.html"
    done = wattbench("report", request.getfixturevalue("journal"), "--out", out)
    assert done.returncode == 0, done.stderr
    assert "modèle ✓ 日本" in out.read_text("utf-8")


def expect_journal(wattbench, request, folder):
    done = wattbench("journal", "check", request.getfixturevalue("journal"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 runs")


def expect_bundle(wattbench, request, folder):
    bundle = folder / "Ergebnis é.zip"
    done = wattbench("bundle", request.getfixturevalue("journal"), "--out", bundle)
    assert done.returncode == 0, done.stderr
    assert bundle.is_file()
    return bundle


def expect_verify(wattbench, request, folder):
    bundle = expect_bundle(wattbench, request, folder)
    done = wattbench("verify", bundle)
    assert done.returncode == 0, done.stdout
    assert "2 runs" in done.stdout


def expect_merge(wattbench, request, folder):
    bundle = expect_bundle(wattbench, request, folder)
    done = wattbench("merge", bundle, request.getfixturevalue("journal"), "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(folder / "out" / "runs.csv", encoding="utf-8")) == 2


def expect_leaderboard(wattbench, request, folder):
    bundle, page = expect_bundle(wattbench, request, folder), folder / "Seite é.html"
    done = wattbench("leaderboard", bundle, "--out", page)
    assert done.returncode == 0, done.stderr
    assert "modèle ✓ 日本" in page.read_text("utf-8")


def expect_quantize(wattbench, request, folder):
    weights = request.getfixturevalue("weights")
    target = folder / "neu é.safetensors"
    done = wattbench("quantize", weights, target, "--format", "int8")
    assert done.returncode == 0, done.stderr
    assert target.is_file()


def expect_quant_report(wattbench, request, folder):
    weights = request.getfixturevalue("weights")
    done = wattbench("quant-report", weights)
    assert done.returncode == 0, done.stderr
    assert "fp32" in done.stdout


def expect_law(wattbench, request, folder):
    done = wattbench("law", "predict", "--architecture", "sdxl", "--steps", "20")
    assert done.returncode == 0, done.stderr


def expect_doctor(wattbench, request, folder):
    done = wattbench("doctor")
    assert done.returncode == 0, done.stderr
    assert "estimate" in done.stdout


def expect_powercap(wattbench, request, folder):
    workflow = request.getfixturevalue("write_workflow")()
    done = wattbench("powercap", workflow, "--out", folder / "out", "--watts", "100")
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("wattbench powercap: ")


def expect_tune(wattbench, request, folder):
    workflow = request.getfixturevalue("write_workflow")()
    done = wattbench("tune", workflow, "--out", folder / "out é", "--levers", "atention")
    assert done.returncode == 2
    assert "did you mean 'attention'?" in done.stderr


def expect_matrix(wattbench, request, folder):
    """Shipped plans belong to what a stranger installs."""
    done = wattbench("matrix", "atention", "--out", folder / "out é")
    assert done.returncode == 2
    assert "did you mean 'attention'?" in done.stderr


def expect_study(wattbench, request, folder):
    """What was published belongs to what a stranger installs."""
    done = wattbench("study", "edge-nodes", "--from", folder / "none", "--out", folder / "out é")
    assert done.returncode == 2
    assert "cannot be read" in done.stderr


def expect_compare(wattbench, request, folder):
    done = wattbench("compare", folder / "a é", folder / "b")
    assert done.returncode == 2
    assert "cannot be read" in done.stderr


def expect_fleet(wattbench, request, folder):
    out, page = folder / "out", folder / "Karten é.md"
    done = wattbench("summary", request.getfixturevalue("journal"), "--out", out)
    assert done.returncode == 0, done.stderr
    done = wattbench("fleet", "page", out, "--out", page)
    assert done.returncode == 0, done.stderr
    assert "## modèle ✓ 日本, 1024x768" in page.read_text("utf-8")


def expect_serve(wattbench, request, folder):
    """The checkout is not the stranger's: it cannot hold what the server writes."""
    server = request.getfixturevalue("journal_server")
    done = wattbench("serve", "--device", "cpu", "--port", server.port)
    assert done.returncode == 2
    assert "is in use" in done.stderr


EXPECTED = {
    name.removeprefix("expect_").replace("_", "-"): function
    for name, function in list(globals().items())
    if name.startswith("expect_")
}


def test_every_command_is_tried():
    assert set(EXPECTED) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_stranger_can_use(command, wattbench, request, folder):
    EXPECTED[command](wattbench, request, folder)


def test_the_stranger_is_another_user(prefix, environment):
    if not prefix:
        pytest.skip("needs root and setpriv, and a Python that every user can start")
    home = environment["HOME"]
    done = subprocess.run([*prefix, "touch", f"{home}/x"], capture_output=True)
    assert done.returncode != 0


def test_a_prompt_stays_what_it_is(journal_server, folder, monkeypatch, environment):
    """comfy-cli reads and writes it in a process of its own: in UTF-8 on every system."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = "モス moth, « ailes », 🦋"
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": text}},
    }
    file = folder / "workflow é.json"
    file.write_text(json.dumps(graph, ensure_ascii=False), "utf-8")
    assert to_api_format(journal_server.client, file)["2"]["inputs"]["filename_prefix"] == text


def test_the_pack_works_from_a_folder_with_spaces_and_umlauts(folder, environment, bare_python):
    """Not installed, and not under its own roof: a copy of the files."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    for name in names.split("\0"):
        if name and name.split("/")[0] not in OUTSIDE and (ROOT / name).is_file():
            copy = folder / "wattbench" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy)
    code = "import wattbench, sys; print(ascii(wattbench.__file__)); "
    code += "from wattbench.cli import main; sys.exit(main(['doctor']))"
    done = subprocess.run(
        [bare_python, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="cp932",
    )
    assert done.returncode == 0, done.stderr
    assert ascii(str(folder))[1:-1] in done.stdout.splitlines()[0]


def test_no_text_is_read_or_written_in_the_systems_encoding():
    """Nor is a child's output: ``text=True`` decodes it as the system would."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] in {*OUTSIDE, ".venv", ".comfyui", "output", "build"}:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and in_the_systems_encoding(node):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize(
    ("call", "is_wrong"),
    [
        ("subprocess.run(c, text=True)", True),
        ("subprocess.run(c, text=True, encoding='utf-8')", False),
        ("Popen(c, universal_newlines=True)", True),
        ("path.read_text()", True),
        ("path.read_text('utf-8')", False),
        ("path.write_text(t)", True),
        ("path.write_text(t, 'utf-8')", False),
        ("path.open()", True),
        ("path.open('rb')", False),
        ("path.open('w', encoding='utf-8')", False),
        ("open(path, 'a')", True),
        ("os.open(path, flags)", False),
    ],
)
def test_what_counts_as_the_systems_encoding(call, is_wrong):
    assert in_the_systems_encoding(ast.parse(call, mode="eval").body) is is_wrong


def in_the_systems_encoding(call):
    """Whether a call handles text and does not say how it is encoded."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if "encoding" in keywords or None in keywords:
        return False
    if keywords.get("text") == "True" or keywords.get("universal_newlines") == "True":
        return True
    if name == "read_text":
        return not call.args
    if name == "write_text":
        return len(call.args) < 2
    is_builtin = isinstance(call.func, ast.Name)
    modes = call.args[1:2] if is_builtin else call.args[:1]
    is_of_a_file = is_builtin or not call.args or re.fullmatch(MODE, ast.unparse(modes[0]))
    if name != "open" or not is_of_a_file:
        return False
    mode = ast.unparse(modes[0]) if modes else keywords.get("mode", "")
    return "b" not in mode and len(call.args) < (4 if is_builtin else 3)
