import re
import subprocess
import sys
from pathlib import Path

import pytest

import wattbench
from wattbench import requirements
from wattbench.host import Script
from wattbench.measure.protocol.observation import open_instrument

from .waiting import result_of

ROOT = Path(__file__).parents[1]


@pytest.fixture
def without_pandas(monkeypatch):
    monkeypatch.setitem(requirements.REQUIRED, "pandas", "no_such_pandas")


def test_every_line_of_requirements_txt_is_looked_for():
    lines = (ROOT / "requirements.txt").read_text("utf-8").split()
    assert [re.split("[<>=]", line)[0] for line in lines] == list(requirements.REQUIRED)
    assert requirements.missing() == []
    requirements.check()


def test_looking_imports_nothing():
    code = "import sys; from wattbench import requirements as r; r.missing(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"pandas", "scipy", "numpy"} & set(done.stdout.split())


def test_what_is_missing_is_named_with_the_command_of_this_python(without_pandas):
    assert requirements.missing() == ["pandas"]
    with pytest.raises(requirements.PackagesMissingError) as refused:
        requirements.check()
    file = ROOT / "requirements.txt"
    assert str(refused.value) == (
        f'WattBench lacks pandas. Install with: "{sys.executable}" -m pip install -r "{file}"'
    )


def test_comfyui_finds_one_line_in_its_log(comfyui, without_pandas, caplog):
    result_of(wattbench.comfy_entrypoint())
    (record,) = caplog.records
    assert record.getMessage() == requirements.complaint(["pandas"])


def test_nothing_is_measured_without_them(without_pandas, tmp_path):
    with (
        pytest.raises(requirements.PackagesMissingError, match="lacks pandas"),
        open_instrument(Script(tmp_path), "cpu", "auto"),
    ):
        pass
