"""From a name or a device to an opened meter, and from a failure to every reason."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from wattbench.analysis.notes import SEPARATOR
from wattbench.measure.meters import METERS, DeviceId, MeterUnavailableError, open_meter, probe_all
from wattbench.measure.meters.apple import AppleSource
from wattbench.measure.meters.estimate import EstimateSource
from wattbench.measure.meters.rapl import RaplSource
from wattbench.measure.meters.replay import ReplaySource

CPU = DeviceId("cpu")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    monkeypatch.delenv("WATTBENCH_METER", raising=False)
    monkeypatch.delenv("WATTBENCH_CPU_TDP_W", raising=False)


def test_order_is_trust_and_opt_ins_come_last():
    keys = [source.key for source in METERS]
    assert keys == [
        "nvml",
        "amdsmi",
        "hwmon",
        "amdsmi-power",
        "rapl",
        "apple",
        "estimate",
        "replay",
    ]
    assert [source.key for source in METERS if source.opt_in] == ["estimate", "replay"]


def test_every_source_answers_and_every_refusal_has_reason_and_remedy():
    offers = probe_all()
    assert {offer.name.partition(":")[0] for offer in offers} == {s.key for s in METERS}
    for offer in offers:
        assert offer.description
        assert offer.available or (offer.reason and offer.remedy)


def test_every_available_meter_opens_by_its_name():
    names = [offer.name for offer in probe_all() if offer.available and "FILE" not in offer.name]
    assert "estimate" in names
    for name in names:
        meter = open_meter(name, CPU)
        assert meter.name == name
        assert meter.note
        meter.close()


def test_auto_never_takes_an_estimate_or_a_recording(sysfs):
    with pytest.raises(MeterUnavailableError) as caught:
        open_meter(
            "auto", CPU, (RaplSource(sysfs), AppleSource(), EstimateSource(), ReplaySource())
        )
    message = str(caught.value)
    assert message.startswith("no meter measures cpu:0. ")
    assert "WATTBENCH_METER=estimate opts in to a labelled estimate" in message
    assert "Tried: rapl (the kernel lists no RAPL zone), apple (" in message
    assert "estimated:" not in message


def test_why_nothing_measures_is_one_note_under_the_table():
    with pytest.raises(MeterUnavailableError) as caught:
        open_meter("auto", DeviceId("cuda", name="Unknown board"))
    assert len(str(caught.value).splitlines()) == 1
    assert SEPARATOR not in str(caught.value)


def test_a_meter_of_another_device_says_so_in_the_same_note(sysfs, put_zone):
    put_zone("intel-rapl:0", "package-0")
    with pytest.raises(MeterUnavailableError) as caught:
        open_meter("auto", DeviceId("cuda"), (RaplSource(sysfs),))
    assert "rapl:package (measures energy of all CPU packages" in str(caught.value)
    assert "not cuda:0)" in str(caught.value)
    assert SEPARATOR not in str(caught.value)


def test_the_environment_decides_what_auto_means(monkeypatch):
    monkeypatch.setenv("WATTBENCH_METER", "estimate")
    assert open_meter("auto", CPU).provenance == "estimated"
    assert open_meter("auto", DeviceId("cuda")).name == "estimate"


def test_a_name_outweighs_the_environment(monkeypatch, tmp_path):
    (tmp_path / "t.csv").write_text("t_s,power_w\n0,1\n1,2\n")
    monkeypatch.setenv("WATTBENCH_METER", "estimate")
    assert open_meter(f"replay:{tmp_path / 't.csv'}", CPU).provenance == "simulated"


def test_the_environment_may_say_auto(monkeypatch, sysfs, put_zone):
    put_zone("intel-rapl:0", "package-0")
    for value in ("auto", ""):
        monkeypatch.setenv("WATTBENCH_METER", value)
        assert open_meter("auto", CPU, (RaplSource(sysfs),)).name == "rapl:package"


@pytest.mark.parametrize("spec", ["watts", "", "NVML:0", "estimates"])
def test_an_unknown_name_lists_the_names_that_exist(spec):
    with pytest.raises(MeterUnavailableError, match="there is no meter") as caught:
        open_meter(spec, CPU)
    assert repr(spec) in str(caught.value)
    assert "this machine has: auto, " in str(caught.value)
    assert "estimate, replay:FILE" in str(caught.value)


def test_apple_is_refused_with_the_reason():
    with pytest.raises(MeterUnavailableError, match="macOS"):
        open_meter("apple", CPU)


def test_importing_the_meters_loads_no_vendor_library_and_no_torch():
    code = (
        "import json, sys, wattbench.measure.meters\n"
        "sys.stdout.write(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(json.loads(process.stdout))
    assert not loaded & {"torch", "pynvml", "amdsmi", "numpy", "scipy", "pandas"}
