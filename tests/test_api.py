"""What scripts and notebooks import: the documented page runs, and says the truth."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wattbench import measure, open_meter
from wattbench.measure.meters import MeterUnavailableError
from wattbench.measure.protocol.journal import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / "api.md", ROOT / "README.md"]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_runs(page, tmp_path):
    """All of its blocks, one after the other, in a process that has no ComfyUI."""
    blocks = PYTHON.findall(page.read_text("utf-8"))
    assert blocks
    check = "import sys\nassert not {'comfy', 'folder_paths', 'pandas'} & set(sys.modules)\n"
    script = tmp_path / "page.py"
    script.write_text("\n".join([*blocks, check]), "utf-8")
    command = [sys.executable, str(script)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "mean and 95 % interval" in ended.stdout


def test_importing_it_imports_nothing_heavy():
    code = (
        "import json, sys\nimport wattbench\nfrom wattbench import measure\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "scipy", "pandas", "psutil"} & set(json.loads(ended.stdout))


def work(window, seed):
    for name in ("encode", "denoise", "denoise"):
        with window.phase(name):
            torch.rand(64, 64, generator=torch.Generator().manual_seed(seed)).exp()


def test_phases_of_any_name_have_seconds_and_joules(hundred_watts):
    measured = measure.function(work, repeats=4, warmups=1, device="cpu", meter=hundred_watts)
    assert list(measured.phases) == ["encode", "denoise"]
    assert [run.seed for run in measured.runs] == [4, 0, 1, 2, 3]
    for cost in (measured.total, *measured.phases.values()):
        assert cost.time.n == cost.energy.n == 4
        assert cost.energy.value == pytest.approx(100 * cost.time.value, rel=1e-6)
        assert cost.time.ci_low < cost.time.value < cost.time.ci_high
    parts = measured.phases.values()
    assert measured.total.time.value == pytest.approx(sum(cost.time.value for cost in parts))
    assert measured.total.energy.value == pytest.approx(sum(cost.energy.value for cost in parts))
    assert str(measured).splitlines()[0] == "work: 4 repeats, mean and 95 % interval"
    assert str(measured).splitlines()[-2].startswith(f"energy: {hundred_watts}")
    assert "per image" in measured.runs[-1].energy_note
    assert "per image" not in str(measured)


def test_a_function_without_phases_is_one(hundred_watts):
    measured = measure.function(
        lambda window, seed: torch.rand(64, 64).exp(),
        repeats=2, device="cpu", meter=hundred_watts, confidence=0.9,
    )  # fmt: skip
    assert list(measured.phases) == ["whole"]
    assert measured.total == measured.phases["whole"]
    assert measured.total.time.confidence == 0.9


def test_without_a_meter_joules_are_blank_with_the_reason(monkeypatch):
    def no_meter(spec, device):
        raise MeterUnavailableError("no meter here", "plug one in")

    monkeypatch.setattr("wattbench.measure.recording.reader.open_meter", no_meter)
    measured = measure.function(work, repeats=2, device="cpu")
    assert measured.total.energy is None
    assert measured.total.time.value > 0
    assert measured.energy_note == "no meter here; plug one in"
    assert str(measured).splitlines()[-1] == "energy: no meter here; plug one in"


def test_an_estimate_is_made_only_when_asked_for(monkeypatch):
    monkeypatch.delenv("WATTBENCH_METER", raising=False)
    measured = measure.function(work, repeats=2, warmups=0, device="cpu", meter="estimate")
    assert "not a measurement" in measured.energy_note
    assert {p.energy.method for run in measured.runs for p in run.phases} == {"estimated"}


def test_a_failure_is_counted_and_no_value(hundred_watts):
    def failing(window, seed):
        if seed == 1:
            raise torch.OutOfMemoryError("out of memory")
        work(window, seed)

    measured = measure.function(failing, repeats=3, warmups=0, device="cpu", meter=hundred_watts)
    assert measured.total.time.n == measured.total.energy.n == 2
    assert "3 repeats, 1 failed" in str(measured)


def test_nothing_to_tell_is_an_error():
    def failing(window, seed):
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match=r"every repeat failed, the last one with .*a fault"):
        measure.function(failing, repeats=2, warmups=0, device="cpu")
    for wrong in ({"repeats": 0}, {"warmups": -1}):
        with pytest.raises(ValueError, match="one repeat or more"):
            measure.function(work, device="cpu", **wrong)


def test_runs_go_to_a_journal(tmp_path, hundred_watts):
    path = tmp_path / "runs.jsonl"
    measured = measure.function(work, repeats=1, warmups=1, meter=hundred_watts, journal=path)
    assert tuple(parse(path.read_text("utf-8"))) == measured.runs
    assert measured.runs[0].environment.host == "Python"


def test_a_phase_of_some_repeats_counts_those(hundred_watts):
    def sometimes(window, seed):
        work(window, seed)
        if seed % 2:
            with window.phase("refine"):
                torch.rand(64, 64).exp()

    measured = measure.function(sometimes, repeats=5, device="cpu", meter=hundred_watts)
    assert measured.phases["refine"].time.n == measured.phases["refine"].energy.n == 2
    assert measured.total.time.n == 5


def test_a_meter_is_closed_at_the_end(hundred_watts):
    with open_meter(hundred_watts) as meter:
        assert meter.read_power_w() == 100
    with pytest.raises(MeterUnavailableError), open_meter("no-such-meter"):
        pass


def test_other_names_are_not_there():
    import wattbench

    for module in (wattbench, measure):
        with pytest.raises(AttributeError, match="no_such_name"):
            module.no_such_name  # noqa: B018
