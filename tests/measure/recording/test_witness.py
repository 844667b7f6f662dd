"""A process that was stopped says so; one that only waited or computed does not."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from wattbench.measure.recording.witness import (
    BEFORE,
    LEAST_GAP_S,
    MOST_CHARACTERS,
    PERIOD_S,
    LoggedWarnings,
    Witness,
    waited_for_turn_s,
)

STOPPED = """
import sys, time, threading, zlib
from wattbench.measure.recording.witness import Witness

def compute():
    data = bytes(2**22)
    while not over.is_set():
        zlib.crc32(data)

over = threading.Event()
threads = [threading.Thread(target=compute) for _ in range(int(sys.argv[1]))]
[thread.start() for thread in threads]
with Witness() as witness:
    print("ready", flush=True)
    sys.stdin.readline()
over.set()
print(witness.stood_still_s)
"""


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.skipif(os.name == "nt", reason="no SIGSTOP")
@pytest.mark.skipif(waited_for_turn_s() is None, reason="the kernel tells no waiting")
def test_a_stopped_process_says_for_how_long(threads):
    """However much it computed until then."""
    child = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        began_s = time.monotonic()
        child.send_signal(signal.SIGSTOP)
        time.sleep(3)
        child.send_signal(signal.SIGCONT)
        out, _ = child.communicate("\n")
        assert 3 - 2 * PERIOD_S < float(out) < time.monotonic() - began_s
    finally:
        child.kill()


@pytest.mark.parametrize(
    ("gap_s", "cpu_s", "stood_still"),
    [
        (LEAST_GAP_S - 0.01, 0.0, False),
        (LEAST_GAP_S + 0.01, 0.0, True),
        (10.0, 0.19, True),
        (10.0, 0.21, False),
    ],
)
def test_a_gap_without_computing_is_standing_still(gap_s, cpu_s, stood_still):
    witness = Witness()
    witness.began(100.0, 50.0)
    witness.saw(100.0 + PERIOD_S + gap_s, 50.0 + cpu_s)
    assert witness.stood_still_s == pytest.approx(gap_s if stood_still else 0.0)


@pytest.mark.parametrize(("cpu_s", "stood_still"), [(0.2 + 3 * BEFORE, False), (0.59, True)])
def test_what_was_computed_before_the_stop_is_no_sign_of_life(cpu_s, stood_still):
    """Three threads computed all the time, also since the last look before it."""
    witness = Witness()
    witness.began(0.0, 0.0, 0.0)
    witness.saw(PERIOD_S, 3 * PERIOD_S, 0.0)
    witness.saw(10.0 + 2 * PERIOD_S, 3 * PERIOD_S + cpu_s, 0.0)
    assert witness.stood_still_s == pytest.approx(10.0 if stood_still else 0.0)


@pytest.mark.parametrize(("waited_s", "stood_still_s"), [(9.1, 0.0), (8.9, 1.1)])
def test_waiting_for_a_processor_is_not_standing_still(waited_s, stood_still_s):
    witness = Witness()
    witness.began(0.0, 0.0, 5.0)
    witness.saw(10.0 + PERIOD_S, 0.0, 5.0 + waited_s)
    assert witness.stood_still_s == pytest.approx(stood_still_s)


def test_gaps_are_summed():
    witness = Witness()
    witness.began(0.0, 0.0)
    witness.saw(12.0 + PERIOD_S, 0.0)
    witness.saw(12.0 + 2 * PERIOD_S, 0.2)
    witness.saw(15.0 + 3 * PERIOD_S, 0.2)
    assert witness.stood_still_s == pytest.approx(15.0)


def test_warnings_of_this_thread_are_kept_once():
    with LoggedWarnings() as logged:
        for _ in range(2):
            logging.warning("tiles; because\n  memory ran out")
        logging.info("nothing to see")
        other = threading.Thread(target=logging.warning, args=("of another thread",))
        other.start()
        other.join()
        logging.warning("x" * 1000)
    logging.warning("too late")
    assert logged.messages == ["tiles, because memory ran out", "x" * MOST_CHARACTERS]
