"""How much of the time a device had work: simulated streams, whose answers are scripted."""

import threading

import pytest
import torch

from wattbench.measure.recording import busy
from wattbench.measure.recording.busy import LEAST_LOOKS, BusyWatch
from wattbench.records import Busy

from ...waiting import until


@pytest.fixture
def card(monkeypatch):
    """A function that gives a CUDA device whose current stream answers as told."""

    class Stream:
        def __init__(self, answer):
            self.query = answer

    def make(answer):
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(answer))
        return torch.device("cuda", 0)

    return make


def test_the_share_is_that_of_the_looks_at_which_it_had_work(card):
    answers = iter([True, True, True, False] * 25)
    watch = BusyWatch(card(lambda: next(answers)))
    for _ in range(100):
        watch.look()
    assert watch.reading == Busy(0.25, 100)


def test_too_few_looks_are_no_reading(card):
    watch = BusyWatch(card(lambda: False))
    for _ in range(LEAST_LOOKS - 1):
        watch.look()
    assert watch.reading == Busy(None, 19, "too short: 19 looks, 20 needed")
    watch.look()
    assert watch.reading == Busy(1.0, 20)


def test_a_thread_looks_while_it_is_entered_and_no_longer(card, monkeypatch):
    monkeypatch.setattr(busy, "PERIOD_S", 1e-4)
    askers, asked = set(), []

    def answer():
        askers.add(threading.get_ident())
        asked.append(0)
        return True

    with BusyWatch(card(answer)) as watch:
        until(lambda: len(asked) >= LEAST_LOOKS)
    count = len(asked)
    assert watch.reading == Busy(0.0, count)
    assert askers.isdisjoint({threading.get_ident()})
    assert not any(thread.name == "wattbench-busy" for thread in threading.enumerate())


def test_a_device_that_does_not_answer_is_asked_once(card):
    def answer():
        raise RuntimeError("CUDA error: operation not permitted\nmore")

    with BusyWatch(card(answer)) as watch:
        until(lambda: watch.reading.note.startswith("the device did not"))
    assert watch.reading == Busy(
        None, 0, "the device did not answer: CUDA error: operation not permitted"
    )


@pytest.mark.parametrize(
    ("kind", "note"),
    [("cpu", "the device is the host"), ("mps", "mps does not tell whether it has work")],
)
def test_where_nothing_tells_it_is_blank_with_the_reason(kind, note):
    threads = threading.active_count()
    with BusyWatch(torch.device(kind)) as watch:
        watch.look()
        assert threading.active_count() == threads
    assert watch.reading == Busy(None, 0, note)
