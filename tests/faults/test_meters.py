"""A meter that works, stops working at any moment in any way, and comes back."""

import math
import random
import threading
import time

import pytest
import torch

from wattbench.measure.meters import DeviceStatus, Meter, MeterReadError, MeterUnavailableError
from wattbench.measure.meters.plausible import PlausibleMeter
from wattbench.measure.recording.environment import identify
from wattbench.measure.recording.instrument import Instrument

CPU = torch.device("cpu")
POWER_W = 100.0


class VendorError(Exception):
    """What a library raises that its documents do not speak of."""


class Vendor:
    """A board of 100 W as its driver tells of it, in one mood for all meters that are open."""

    def __init__(self):
        self.mood, self.end = "works", threading.Event()

    def open(self, *_):
        if self.mood == "vanishes":
            raise MeterUnavailableError("the board is lost", "restart the machine")
        if self.mood == "hangs when opened":
            self.end.wait()
        return PlausibleMeter(MoodyMeter(self))

    def answer(self, value):
        if self.mood in ("hangs", "hangs when opened"):
            self.end.wait()
        elif self.mood == "fails":
            raise MeterReadError("the driver answers 999")
        elif self.mood == "raises":
            raise VendorError("a symbol is missing")
        elif self.mood == "vanishes":
            raise OSError(19, "No such device")
        return GARBAGE.get(self.mood, lambda value: value)(value)


GARBAGE = {
    "NaN": lambda value: math.nan,
    "infinity": lambda value: math.inf,
    "all ones": lambda value: 0xFFFFFFFF / 1000,
    "negative": lambda value: -value,
    "a spike": lambda value: 1e6 + value * 1000,
    "nothing": lambda value: None,
    "text": lambda value: "[N/A]",
}
MOODS = ("hangs", "hangs when opened", "fails", "raises", "vanishes", *GARBAGE)
FEW = ("hangs", "raises", "NaN", "nothing", "vanishes")


class MoodyMeter(Meter):
    name, scope, poll_period_s = "moody:0", "gpu", 0.005

    def __init__(self, vendor):
        self.vendor = vendor

    def read_energy_j(self):
        return self.vendor.answer(POWER_W * time.perf_counter())

    def read_power_w(self):
        return self.vendor.answer(POWER_W)

    def read_vram_bytes(self):
        return self.vendor.answer(1000)

    def read_status(self):
        self.vendor.answer(0.0)
        return DeviceStatus(temperature_c=50.0)

    def close(self):
        pass


@pytest.fixture
def vendor(monkeypatch):
    vendor = Vendor()
    monkeypatch.setattr("wattbench.measure.recording.reader.open_meter", vendor.open)
    yield vendor
    vendor.end.set()


def run_of(instrument, change=lambda: None):
    """A phase of 0.1 s, in the middle of which ``change`` is called."""
    with instrument.record() as (window, recording), window.phase("denoise"):
        time.sleep(0.05)
        change()
        time.sleep(0.05)
    [phase] = recording.phases
    return phase, recording


def test_every_reading_is_right_or_blank_with_its_reason(vendor, soaks, figures):
    dice = random.Random(20)
    moods = list(MOODS) * 12 if soaks else FEW
    blank = right = 0
    with Instrument(CPU, identify(CPU)) as instrument:
        for number, mood in enumerate(moods):
            during = dice.random() < 0.5

            def fall_ill(mood=mood):
                vendor.mood = mood

            if not during:
                fall_ill()
            phase, recording = run_of(instrument, fall_ill)
            if phase.energy is None:
                blank += 1
                assert recording.energy_note, (number, mood, during)
            else:
                right += 1
                assert phase.energy.energy_j == pytest.approx(
                    POWER_W * phase.duration_s, rel=0.25
                ), (number, mood, during)
            vendor.mood = "works"
            phase, recording = run_of(instrument)
            assert phase.energy is not None, (number, mood, during, recording.energy_note)
            assert phase.energy.energy_j == pytest.approx(POWER_W * phase.duration_s, rel=0.25)
    assert blank
    figures(faults=len(moods), blank=blank, right=right, wrong=0, came_back=len(moods))
