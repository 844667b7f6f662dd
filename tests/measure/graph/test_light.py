"""A prompt recorded beside its work, with a made meter in simulated time."""

import threading

import pytest

from wattbench.measure.graph import light
from wattbench.measure.graph.light import LATE, NOTHING_DRAWN, LightRecorder
from wattbench.measure.graph.log import NodeLog
from wattbench.measure.meters import Meter, MeterReadError, MeterUnavailableError
from wattbench.measure.recording.timeline import HostTimeline

from ...simulated_board import SimulatedTime
from ...waiting import until

POWER_W = 100.0


class Board(Meter):
    """100 W from the beginning of time, by its counter or by its power."""

    name, scope = "made", "gpu"

    def __init__(self, clock, has_counter=True):
        self.clock, self.has_counter = clock, has_counter
        self.fault = ""
        self.closed = self.reads = 0

    def read_energy_j(self):
        self.reads += 1
        if self.fault:
            raise MeterReadError(self.fault)
        return POWER_W * self.clock.perf_counter() if self.has_counter else None

    def read_power_w(self):
        return POWER_W

    def read_vram_bytes(self):
        return 5000

    def close(self):
        self.closed += 1


class Prompt:
    """A recorder whose thread reads whenever a piece of a prompt's time has passed."""

    def __init__(self, meter, clock):
        self.clock, self.meter, self.log = clock, meter, NodeLog()
        self.recorder = LightRecorder(self.open, HostTimeline(), lambda: 7, "a note")

    def open(self):
        if self.meter is None:
            raise MeterUnavailableError("no meter", "buy one")
        return self.meter

    def work(self, node_id, *pieces_s):
        """A node that takes these seconds, with a read of the meter after each."""
        self.log.start(node_id, self.recorder.mark())
        for piece_s in pieces_s:
            self.clock.sleep(piece_s)
            self.read()
        self.log.finish(node_id, self.recorder.mark())

    def read(self):
        if self.meter is not None:
            seen = self.meter.reads
            until(lambda: self.meter.reads >= seen + 2)

    def end(self):
        return self.recorder.end(self.log.pieces)


@pytest.fixture
def clock(monkeypatch):
    clock = SimulatedTime()
    monkeypatch.setattr(light, "PERIOD_S", 0.001)
    for module in ("meters.timed_read", "recording.timeline"):
        monkeypatch.setattr(f"wattbench.measure.{module}.time", clock)
    return clock


@pytest.fixture
def begun(clock):
    def begin(meter, unmeasured=""):
        prompt = Prompt(meter, clock)
        prompt.recorder.begin(unmeasured)
        if not unmeasured:
            prompt.read()
        return prompt

    return begin


@pytest.mark.parametrize(
    ("has_counter", "method"), [(True, "counter"), (False, "integrated")], ids=["counter", "power"]
)
def test_each_node_has_what_was_drawn_in_its_time(begun, clock, has_counter, method):
    prompt = begun(Board(clock, has_counter))
    prompt.work("a", 0.5, 0.5)
    prompt.work("b", 0.25)
    recording, error_j = prompt.end()
    joules = {phase.name: phase.energy.energy_j for phase in recording.phases}
    assert joules == {"a": pytest.approx(100), "b": pytest.approx(25)}
    assert {phase.energy.method for phase in recording.phases} == {method}
    # Twice the longest time between two reads, at the highest power.
    assert error_j == pytest.approx(POWER_W * 2 * 0.5)
    assert recording.vram.peak_bytes == 5000
    assert recording.energy_note == ""


def test_reads_that_lie_close_leave_a_fifth_of_a_second_open(begun, clock):
    prompt = begun(Board(clock))
    prompt.work("a", *[0.05] * 4)
    _, error_j = prompt.end()
    assert error_j == pytest.approx(POWER_W * light.BORDER_S)


@pytest.mark.parametrize(("gap_s", "is_known"), [(1.49, True), (1.51, False)])
def test_a_hole_in_the_reads_leaves_no_energy(begun, clock, gap_s, is_known):
    prompt = begun(Board(clock))
    prompt.work("a", gap_s)
    recording, error_j = prompt.end()
    assert (recording.phases[0].energy is not None) is is_known
    assert recording.energy_note == (
        "" if is_known else "the meter was not read for 1.5 s of this prompt"
    )
    assert (error_j is not None) is is_known


@pytest.mark.parametrize(("gained_j", "note"), [(0.0, NOTHING_DRAWN), (0.001, "")])
def test_a_counter_that_stands_is_no_energy_of_0(begun, clock, gained_j, note):
    class Standing(Board):
        def read_energy_j(self):
            self.reads += 1
            return 5.0 + (gained_j if self.reads > 1 else 0.0)

    prompt = begun(Standing(clock))
    prompt.work("a", 0.3, 0.3)
    recording, error_j = prompt.end()
    assert recording.energy_note == note
    assert (recording.phases[0].energy is None) is bool(note)
    assert (error_j is None) is bool(note)


@pytest.mark.parametrize(("late_s", "note"), [(0.19, ""), (0.21, LATE)])
def test_a_meter_opened_too_late_leaves_no_energy(clock, late_s, note):
    opened = threading.Event()
    prompt = Prompt(Board(clock), clock)
    prompt.recorder = LightRecorder(
        lambda: opened.wait(60) and prompt.meter, HostTimeline(), None, ""
    )
    prompt.recorder.begin()
    prompt.log.start("a", prompt.recorder.mark())
    clock.sleep(late_s)
    opened.set()
    prompt.read()
    clock.sleep(0.5)
    prompt.read()
    prompt.log.finish("a", prompt.recorder.mark())
    recording, _ = prompt.end()
    assert recording.energy_note == note
    assert (recording.phases[0].energy is None) == bool(note)


def test_a_meter_that_fails_is_told_and_opened_anew(begun, clock):
    board = Board(clock)
    prompt = begun(board)
    board.fault = "the card is lost"
    until(lambda: prompt.recorder._reason)
    recording, _ = prompt.end()
    assert recording.energy_note == "the card is lost"
    board.fault = ""
    prompt.log = NodeLog()
    prompt.recorder.begin()
    prompt.read()
    prompt.work("b", 0.5)
    recording, _ = prompt.end()
    assert recording.phases[0].energy.energy_j == pytest.approx(50)
    assert board.closed == 1


def test_without_a_meter_time_and_memory_stay(begun):
    prompt = begun(None)
    until(lambda: prompt.recorder._vram)
    prompt.work("a", 0.5)
    recording, error_j = prompt.end()
    assert (recording.phases[0].duration_s, recording.phases[0].energy) == (0.5, None)
    assert (recording.energy_note, error_j) == ("no meter; buy one", None)
    assert recording.vram.peak_bytes == 7


def test_a_prompt_that_measures_itself_is_not_read(begun, clock):
    board = Board(clock)
    prompt = begun(board, "it measures itself")
    prompt.log.start("a", prompt.recorder.mark())
    clock.sleep(0.5)
    prompt.log.finish("a", prompt.recorder.mark())
    recording, _ = prompt.end()
    assert board.reads == 0
    assert recording.phases[0].duration_s == 0.5
    assert recording.energy_note == "it measures itself"


def test_no_thread_stays_and_the_meter_is_closed_at_the_end(begun, clock):
    board = Board(clock)
    prompt = begun(board)
    prompt.work("a", 0.5)
    prompt.end()
    assert "wattbench-history" not in {thread.name for thread in threading.enumerate()}
    assert board.closed == 0
    prompt.recorder.close()
    assert board.closed == 1
