"""The NVML meter under the real nvidia-ml-py and a simulated driver library."""

from __future__ import annotations

from itertools import combinations

import pytest

from wattbench.measure.meters import DeviceId, MeterUnavailableError
from wattbench.measure.meters.nvml import NvmlSource, throttle_names

A100 = """
gpu
uuid GPU-aaaaaaaa-0000-1111-2222-333333333333
pci 0:41:0
name NVIDIA A100-SXM4-80GB
counter_mj 5000000
power 0 100
power 1 300
memory 80000000000 600000000 1234567168
limit_mw 400000
temperature 61
sm_mhz 1410
utilization 87
pcie 4 16
memory_mhz 1593
throttle 0x5
display 0
"""
SECOND = """
gpu
uuid GPU-bbbbbbbb-0000-1111-2222-333333333333
pci 0:01:0
name NVIDIA RTX A6000
counter_mj 1000
power 0 50
"""


def test_reads_the_counter_in_joules_at_its_ticks(with_nvml):
    read = with_nvml(
        A100,
        """
meter = open_meter("nvml:0", DeviceId("cpu"))
values = []
for t in (1.0, 1.05, 1.1, 2.0):
    at(t)
    values.append(meter.read_energy_j())
reply({"values": values, "step": meter.energy_resolution_j, "scope": meter.scope,
       "provenance": meter.provenance, "name": meter.name})
""",
    )
    assert read["values"] == pytest.approx([5100, 5100, 5130, 5400])
    assert read["step"] == 0.001
    assert (read["scope"], read["provenance"], read["name"]) == ("gpu", "measured", "nvml:0")


def test_in_real_time_the_counter_moves_once_in_a_tick(with_nvml):
    """Each value that is new is the one of the last tick before the read, however late that came.

    A tick was thus at most one period and one read before the read's end.
    """
    ticks = with_nvml(
        "gpu\ncounter_mj 1000\ntick_ms 50\npower 0 100\n",
        """
import time
meter = open_meter("nvml:0", DeviceId("cpu"))
ticks = []
while len(ticks) < 11:
    began_s = time.perf_counter()
    energy_j = meter.read_energy_j()
    if not ticks or ticks[-1][2] != energy_j:
        ticks.append((began_s, time.perf_counter(), energy_j))
    time.sleep(meter.poll_period_s)
reply(ticks)
""",
        is_real_time=True,
    )
    for (began_s, ended_s, energy_j), (later_began_s, later_ended_s, later_j) in combinations(
        ticks, 2
    ):
        tick_count = (later_j - energy_j) / 5
        assert tick_count == pytest.approx(round(tick_count))
        assert later_began_s - ended_s - 0.05 < 0.05 * tick_count < later_ended_s - began_s + 0.05


def test_power_is_instantaneous_where_field_186_answers(with_nvml):
    read = with_nvml(
        A100,
        """
meter = open_meter("nvml:0", DeviceId("cpu"))
at(1.1)
reply([meter.read_power_w(), meter.note])
""",
    )
    assert read[0] == pytest.approx(300)
    assert "instantaneous" in read[1]
    assert "186" in read[1]


def test_power_falls_back_to_the_average_and_says_so(with_nvml):
    read = with_nvml(
        A100 + "unsupported field186\n",
        """
meter = open_meter("nvml:0", DeviceId("cpu"))
at(1.1)
reply([meter.read_power_w(), meter.note])
""",
    )
    assert read[0] == pytest.approx(0.9 * 100 + 0.1 * 300)
    assert "1 s average" in read[1]
    assert "GA100" in read[1]


@pytest.mark.parametrize("refused", ["nvmlDeviceGetFieldValues", "field186"])
def test_a_board_without_a_counter_has_power_and_no_energy(with_nvml, refused):
    script = f"{A100}unsupported nvmlDeviceGetTotalEnergyConsumption\nunsupported {refused}\n"
    read = with_nvml(
        script,
        """
meter = open_meter("nvml:0", DeviceId("cpu"))
reply([meter.read_energy_j(), meter.read_power_w(), meter.energy_resolution_j, meter.note])
""",
    )
    assert read[:3] == [None, 100.0, None]
    assert "because nvmlDeviceGetTotalEnergyConsumption on nvml:0 answered: Not Supp" in read[3]


NEITHER = "".join(
    f"unsupported {call}\n"
    for call in ("nvmlDeviceGetTotalEnergyConsumption", "field186", "nvmlDeviceGetPowerUsage")
)


def test_a_board_with_neither_is_refused_with_the_answers(with_nvml):
    reason = with_nvml(
        A100 + NEITHER, 'reply(tries(lambda: open_meter("nvml:0", DeviceId("cpu"))))'
    )
    assert reason.startswith("MeterUnavailableError: NVIDIA A100")
    assert "nvmlDeviceGetTotalEnergyConsumption on nvml:0 answered: Not Supported" in reason
    assert "nvmlDeviceGetPowerUsage" in reason


def test_any_channel_may_be_missing_and_none_becomes_a_zero(with_nvml):
    """Eight boards, one for each set of channels that answer."""
    calls = ("nvmlDeviceGetTotalEnergyConsumption", "field186", "nvmlDeviceGetPowerUsage")
    missing = [[c for bit, c in enumerate(calls) if board >> bit & 1] for board in range(8)]
    script = "".join(A100 + "".join(f"unsupported {c}\n" for c in board) for board in missing)
    code = """
reads = []
for index in range(8):
    try:
        meter = open_meter(f"nvml:{index}", DeviceId("cpu"))
    except MeterUnavailableError:
        reads.append(None)
    else:
        reads.append([meter.read_energy_j(), meter.read_power_w()])
reply(reads)
"""
    reads = with_nvml(script, code)
    assert reads[7] is None
    for absent, (energy_j, power_w) in zip(missing[:7], reads[:7], strict=True):
        assert energy_j == (None if calls[0] in absent else 5000)
        assert power_w == (None if set(calls[1:]) <= set(absent) else 100)


def test_a_power_of_zero_is_no_power(with_nvml):
    read = with_nvml(
        "gpu\nname Broken\ncounter_mj 7000\npower 0 0\n",
        """
meter = open_meter("nvml:0", DeviceId("cpu"))
reply([meter.read_energy_j(), meter.read_power_w(), meter.note])
""",
    )
    assert read == [7, None, ""]


def test_a_counter_that_stands_at_zero_is_no_counter(with_nvml):
    read = with_nvml(
        "gpu\nname Broken\npower 0 200\n",
        """
meter = open_meter("nvml:0", DeviceId("cpu"))
reply([meter.read_energy_j(), meter.read_power_w(), meter.note])
""",
    )
    assert read[:2] == [None, 200]
    assert "the energy counter of nvml:0 stands at 0 J" in read[2]


def test_vram_leaves_the_drivers_reserve_out_where_it_can(with_nvml):
    code = 'reply(open_meter("nvml:0", DeviceId("cpu")).read_vram_bytes())'
    assert with_nvml(A100, code) == 1234567168
    with_reserve = with_nvml(A100 + "unsupported nvmlDeviceGetMemoryInfo_v2\n", code)
    assert with_reserve == 1234567168 + 600000000
    without = "unsupported nvmlDeviceGetMemoryInfo_v2\nunsupported nvmlDeviceGetMemoryInfo\n"
    assert with_nvml(A100 + without, code) is None


STATUS = """
import dataclasses
reply(dataclasses.asdict(open_meter("nvml:0", DeviceId("cpu")).read_status()))
"""


def test_status_in_si_units(with_nvml):
    script = A100 + "process c self\nprocess c 4000001\nprocess g 4000001\nprocess g 4000002\n"
    status = with_nvml(script, STATUS)
    assert status == {
        "temperature_c": 61,
        "sm_clock_hz": 1410e6,
        "throttle_reasons": ["sw_power_cap"],
        "display_active": False,
        "other_process_count": 2,
        "power_limit_w": 400,
        "gpu_utilisation": pytest.approx(0.87),
        "pcie_link": [4, 16],
    }


@pytest.mark.parametrize(
    "directive",
    [
        "unsupported nvmlDeviceGetCurrPcieLinkGeneration",
        "unsupported nvmlDeviceGetCurrPcieLinkWidth",
        "pcie 0 16",
        "pcie 4 0",
    ],
)
def test_a_link_that_is_told_in_part_is_no_link(with_nvml, directive):
    assert with_nvml(f"{A100}{directive}\n", STATUS)["pcie_link"] is None


def test_the_default_limit_is_not_the_one_in_force(with_nvml, tmp_path):
    limits = tmp_path / "limits"
    limits.write_text("0 250000\n")
    code = """
meter = open_meter("nvml:0", DeviceId("cpu"))
reply([meter.power_limit_w(), meter.default_limit_w(), meter.highest_limit_w()])
"""
    assert with_nvml(f"{A100}limits {limits}\n", code) == [250, 400, 400]
    without = "unsupported nvmlDeviceGetPowerManagementDefaultLimit\n"
    assert with_nvml(A100 + without, code) == [400, None, 400]


def test_a_monitor_that_shows_nothing_is_no_active_display(with_nvml):
    """A data-centre board was seen with display mode on, display active off and no monitor."""
    script = A100 + "monitor 1\n"
    assert with_nvml(script, STATUS)["display_active"] is False
    unsupported = script + "unsupported nvmlDeviceGetDisplayActive\n"
    assert with_nvml(unsupported, STATUS)["display_active"] is True


def test_status_that_is_not_to_be_had_is_none(with_nvml):
    calls = (
        "Temperature",
        "ClockInfo",
        "DisplayActive",
        "DisplayMode",
        "CurrentClocksThrottleReasons",
    )
    calls += ("CurrentClocksEventReasons", "ComputeRunningProcesses_v3", "EnforcedPowerLimit")
    calls += ("UtilizationRates", "CurrPcieLinkGeneration")
    status = with_nvml(A100 + "".join(f"unsupported nvmlDeviceGet{c}\n" for c in calls), STATUS)
    assert set(status.values()) == {None}


def test_throttle_reasons_of_an_older_driver(with_nvml):
    script = A100 + "unsupported nvmlDeviceGetCurrentClocksEventReasons\n"
    assert with_nvml(script, STATUS)["throttle_reasons"] == ["sw_power_cap"]


def test_throttle_names_leave_idleness_out():
    assert throttle_names(0) == throttle_names(1) == ()
    assert throttle_names(0x1FF)[1:3] == ("sw_power_cap", "hw_slowdown")
    assert len(throttle_names(0x1FF)) == 8


def test_failure_in_mid_run_names_the_call_and_is_never_zero(with_nvml):
    read = with_nvml(
        A100 + "fail 2 nvmlDeviceGetTotalEnergyConsumption 15\nfail 2 field186 999\n",
        """
meter = open_meter("nvml:0", DeviceId("cpu"))
at(2)
reply([tries(meter.read_energy_j), tries(meter.read_power_w), meter.read_vram_bytes()])
""",
    )
    assert read[0] == (
        "MeterReadError: nvmlDeviceGetTotalEnergyConsumption on nvml:0 answered: GPU is lost"
    )
    assert read[1].startswith("MeterReadError: nvmlDeviceGetFieldValues(186) on nvml:0 answered:")
    assert read[2] == 1234567168


def test_counter_reset_in_mid_run_is_an_error_from_then_on(with_nvml):
    read = with_nvml(
        A100 + "reset 2\n",
        """
meter = open_meter("nvml:0", DeviceId("cpu"))
values = []
for t in (1.9, 2.5, 1000, 50000):
    at(t)
    values.append(tries(meter.read_energy_j))
reply(values)
""",
    )
    assert read[0] == pytest.approx(5370)
    assert all(
        value.startswith("MeterReadError: the energy counter of nvml:0") for value in read[1:]
    )


DEVICES = {
    "uuid as torch prints it": ("bbbbbbbb-0000-1111-2222-333333333333", ""),
    "uuid with prefix": ("GPU-BBBBBBBB-0000-1111-2222-333333333333", ""),
    "address": ("", "00000000:01:00.0"),
    "short address": ("", "0000:01:00"),
    "address where the uuid is unknown": ("cccccccc-0000-0000-0000-000000000000", "0:01:00.0"),
}


@pytest.mark.parametrize(("uuid", "pci"), DEVICES.values(), ids=DEVICES.keys())
@pytest.mark.parametrize("mask", [None, "1", "1,0", "GPU-bbbbbbbb", "GPU-bbbb,GPU-aaaa", ""])
def test_auto_finds_the_board_by_identity_under_any_mask(with_nvml, uuid, pci, mask):
    device = DeviceId("cuda", 0, "NVIDIA RTX A6000", uuid, pci)
    environment = {} if mask is None else {"CUDA_VISIBLE_DEVICES": mask}
    code = f"""
meter = open_meter("auto", {device!r})
reply([meter.name, meter.read_power_w()])
"""
    assert with_nvml(A100 + SECOND, code, **environment) == ["nvml:1", 50.0]


def test_a_board_that_is_not_the_device_is_never_taken(with_nvml):
    device = DeviceId("cuda", 0, "AMD Radeon", "", "0000:99:00.0")
    message = with_nvml(A100 + SECOND, f'reply(tries(lambda: open_meter("auto", {device!r})))')
    assert message.startswith("MeterUnavailableError: no meter measures AMD Radeon")
    assert "nvml:0" in message
    assert "WATTBENCH_METER=estimate" in message


def test_without_identity_only_a_lone_board_of_that_name_matches(with_nvml):
    code = 'reply(NvmlSource().match(DeviceId("cuda", 0, "NVIDIA RTX A6000")))'
    assert with_nvml(SECOND, code) == "0"
    assert with_nvml(A100, code) is None
    assert with_nvml(A100 + SECOND, code) is None


def test_uuid_names_a_board_and_so_does_its_start(with_nvml):
    code = """
reply([tries(lambda: open_meter(name, DeviceId("cpu")).name) for name in
       ("nvml:GPU-bbbbbbbb-0000-1111-2222-333333333333", "nvml:GPU-b", "nvml:GPU-", "nvml:7")])
"""
    names = with_nvml(A100 + SECOND, code)
    assert names[:2] == ["nvml:1", "nvml:1"]
    for message in names[2:]:
        assert "NVML lists nvml:0 (GPU-aaaaaaaa" in message


def test_mig_instances_are_refused_and_the_board_is_labelled(with_nvml):
    device = DeviceId("cuda", 0, "A100", "dddddddd-0000-0000-0000-000000000000", "0:41:00.0")
    code = f"""
meter = open_meter("nvml:0", DeviceId("cpu"))
reply([meter.note] + [tries(lambda: open_meter(spec, {device!r}))
                      for spec in ("auto", "nvml:MIG-dddddddd")])
"""
    note, automatic, named = with_nvml(A100 + "mig 1\n", code)
    assert "all instances" in note
    assert "a MIG instance has no energy of its own" in automatic
    assert "a MIG instance has no energy of its own" in named


def test_nvml_is_shut_down_as_often_as_it_was_started(with_nvml):
    counts = with_nvml(
        A100 + SECOND + NEITHER,
        """
import ctypes
count = ctypes.CDLL("libnvidia-ml.so.1").fake_nvml_init_count
counts = []
meter = open_meter("nvml:0", DeviceId("cpu"))
counts.append(count())
probe_all()
NvmlSource().match(DeviceId("cuda"))
tries(lambda: open_meter("nvml:1", DeviceId("cpu")))
tries(lambda: open_meter("nvml:9", DeviceId("cpu")))
counts.append(count())
meter.close()
meter.close()
counts.append(count())
reply(counts)
""",
    )
    assert counts == [1, 1, 0]


def test_probe_offers_every_board_with_its_reason(with_nvml):
    script = A100 + SECOND + NEITHER + "gpu\nfail -1 nvmlDeviceGetHandleByIndex_v2 15\n"
    code = "reply([[o.name, o.available, o.reason] for o in NvmlSource().probe()])"
    good, bare, lost = with_nvml(script, code)
    assert good == ["nvml:0", True, ""]
    assert bare[:2] == ["nvml:1", False]
    assert "neither energy nor power" in bare[2]
    assert lost == ["nvml:2", False, "NVML cannot identify GPU 2: GPU is lost"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [("init 9\n", "nvmlInit answered: Driver Not Loaded"), ("", "NVML lists no GPU")],
)
def test_a_driver_without_a_board_is_a_reason(with_nvml, script, reason):
    code = """
offer, = NvmlSource().probe()
reply([offer.available, offer.reason, offer.remedy, NvmlSource().match(DeviceId("cuda"))])
"""
    available, said, remedy, matched = with_nvml(script, code)
    assert (available, said, matched) == (False, reason, None)
    assert remedy


def test_jetson_is_refused_with_its_own_reason(with_nvml, tmp_path):
    tree = tmp_path / "firmware/devicetree/base"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"nvidia,p3768-0000\0nvidia,tegra234\0")
    code = f"""
from pathlib import Path
source = NvmlSource(Path({str(tmp_path)!r}))
reply([source.probe()[0].reason, tries(lambda: source.open("0"))])
"""
    offered, opened = with_nvml("gpu\nname Orin\n" + NEITHER, code)
    for refusal in (offered, opened):
        assert "neither energy nor power" in refusal
        assert "the built-in GPU of a Jetson has neither" in refusal


def test_a_machine_without_the_library_gives_the_reason():
    if NvmlSource().probe()[0].available:
        pytest.skip("this machine has an NVIDIA GPU")
    offer = NvmlSource().probe()[0]
    assert offer.reason
    assert offer.remedy
    with pytest.raises(MeterUnavailableError, match="nvmlInit answered"):
        NvmlSource().open("0")
