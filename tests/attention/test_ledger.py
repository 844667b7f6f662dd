"""What a ledger says of time: all of it, or nothing."""

import pytest
import torch

from wattbench.attention.ledger import CpuClock, IdleWatch, Ledger, clock_of


@pytest.mark.parametrize(
    ("call_count", "duration_s"),
    [(1, None), (2, 1.25), (3, None), (100, None)],
    ids=["a span too many", "whole", "one is missing", "most are missing"],
)
def test_seconds_of_some_calls_are_not_those_of_all(call_count, duration_s):
    ledger = Ledger("sdpa", CpuClock())
    tally = ledger.tally("sdpa")
    tally.call_count = call_count
    tally.spans += [(1.0, 1.5), (2.0, 2.75)]
    [count] = ledger.read()
    assert (count.call_count, count.duration_s) == (call_count, duration_s)


def test_kernels_are_timed_each_for_itself():
    """A fall-back that was timed says nothing of the kernel that was not."""
    ledger = Ledger("sage_2", CpuClock())
    for executed, spans in (("sage_2", []), ("sdpa", [(0.0, 0.5)])):
        tally = ledger.tally(executed, "it takes no mask" if executed == "sdpa" else "")
        tally.call_count = 1
        tally.spans += spans
    assert [(c.requested, c.executed, c.duration_s, c.reason) for c in ledger.read()] == [
        ("sage_2", "sage_2", None, ""),
        ("sage_2", "sdpa", 0.5, "it takes no mask"),
    ]
    ledger.clear()
    ledger.tally("sage_2").call_count = 1
    ledger.tally("sage_2").spans.append((3.0, 4.0))
    assert [c.duration_s for c in ledger.read()] == [1.0], "spans of before the clearing are gone"


@pytest.fixture
def card(monkeypatch):
    """A simulated card; ``card.done`` says whether it has finished when the next call comes."""

    class Event:
        done = True

        def record(self):
            pass

        def query(self):
            return Event.done

    monkeypatch.setattr(torch.cuda, "Event", Event)
    return Event


def test_calls_that_settle_do_not_count(card):
    """The first 32: what they find is the end of loading. Of the 64 after, a quarter finds it idle.

    The part is known at the 64th, and not at the one before.
    """
    watch = IdleWatch()
    for _ in range(IdleWatch.SETTLING_CALLS):
        watch.note()
    for number in range(IdleWatch.CALLS):
        assert watch.part is None
        card.done = number % 4 == 0
        watch.note()
    assert watch.part == 16 / 64
    card.done = True
    watch.note()
    assert watch.part == 17 / 65
    watch.restart()
    assert watch.part is None


def test_seconds_on_a_device_are_from_one_mark_to_the_other(monkeypatch):
    """A simulated device whose events are 0.1 s apart; the later one is waited for."""

    class Event:
        made, waited = [], []

        def __init__(self, enable_timing):
            assert enable_timing
            Event.made.append(self)

        def record(self):
            self.at_ms = 100.0 * len(Event.made)

        def synchronize(self):
            Event.waited.append(self)

        def elapsed_time(self, end):
            assert end in Event.waited
            return end.at_ms - self.at_ms

    monkeypatch.setattr(torch.xpu, "Event", Event)
    clock = clock_of("xpu")
    first, second, third = clock.mark(), clock.mark(), clock.mark()
    assert clock.seconds(first, third) == pytest.approx(0.2)
    assert clock.seconds(second, third) == pytest.approx(0.1)
    assert Event.waited == [third, third]
