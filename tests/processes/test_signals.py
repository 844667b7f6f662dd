"""What a signal does to a command, and when."""

import os
import signal
import subprocess
import sys

import pytest

from wattbench.processes.signals import cancelling, held

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def test_held_signal_is_delivered_at_the_end_of_the_block():
    reached = False
    with pytest.raises(KeyboardInterrupt), cancelling(), held():
        signal.raise_signal(signal.SIGTERM)
        reached = True
    assert reached


def test_second_signal_does_not_disturb_cleaning_up():
    cleaned = False
    with pytest.raises(KeyboardInterrupt), cancelling():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned = True
    assert cleaned


def test_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with cancelling(), held():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_child_of_a_held_block_dies_by_signals():
    with held():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    child.terminate()
    assert child.wait(timeout=600) == -signal.SIGTERM
