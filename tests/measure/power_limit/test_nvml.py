"""The power limit of a simulated NVIDIA board under the real nvidia-ml-py."""

import json
import subprocess
import sys

import pytest

BOARDS = """
gpu
uuid GPU-aaaa
name First
limit_mw 400000
gpu
uuid GPU-bbbb
name Second
pci 0:2:0
unsupported nvmlDeviceGetPowerManagementLimitConstraints
"""
PRELUDE = """
import json, sys
from wattbench.measure.power_limit import PowerLimitError, open_limit, probe_limits
from wattbench.measure.power_limit.nvml import NvmlPowerLimits
def refusal(name):
    try:
        open_limit(name)
    except PowerLimitError as error:
        return str(error)
def reply(value):
    sys.stdout.write(json.dumps(value))
"""


@pytest.fixture
def ask(simulated_nvml):
    """Run code in a process that has these boards; what it replies."""

    def run(code, script=BOARDS):
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + code],
            env=simulated_nvml(script),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_limit_by_index_and_by_uuid(ask):
    answers = ask(
        """
limit = open_limit("nvml:GPU-aa")
before = limit.read_w()
reply([limit.name, limit.label, vars(limit.allowed), before, limit.set_w(123),
       open_limit("nvml:0").read_w(), open_limit("auto").name])
"""
    )
    allowed = {"minimum_w": 100, "maximum_w": 400, "default_w": 400}
    assert answers == ["nvml:0", "First (GPU-aaaa)", allowed, 400, 123, 123, "nvml:0"]


def test_offers_and_refusals(ask):
    offers = ask(
        "reply([[o.name, o.available, o.description, o.reason, o.remedy]"
        " for o in probe_limits([NvmlPowerLimits()])])"
    )
    assert offers[0][:2] == ["nvml:0", True]
    assert offers[0][2].endswith("400 W now, 100 to 400 W, default 400 W")
    assert offers[1][:2] == ["nvml:1", False]
    assert "Constraints of nvml:1 answered: Not Supported" in offers[1][3]
    assert "fixed limit" in offers[1][4]


def test_board_that_is_not_there(ask):
    assert "0 boards answer to nvml:7" in ask('reply(refusal("nvml:7"))')


def test_machine_without_a_driver(ask):
    answers = ask(
        'reply([refusal("nvml:0"), [o.reason for o in probe_limits([NvmlPowerLimits()])]])',
        "init 9\n",
    )
    assert answers[0].startswith("nvmlInit answered")
    assert answers[1][0].startswith("nvmlInit answered")
