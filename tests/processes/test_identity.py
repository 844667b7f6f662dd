"""One name for one process, another for any other."""

import os
import subprocess
import sys

import pytest

from wattbench.processes.identity import process_id

OTHER = "from wattbench.processes.identity import process_id; print(process_id(), process_id())"


def other():
    done = subprocess.run([sys.executable, "-c", OTHER], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_process_has_one_name_and_no_two_share_it():
    first, second = other(), other()
    assert first[0] == first[1]
    assert len({process_id(), first[0], second[0]}) == 3
    assert all(len(name) == 12 for name in (process_id(), *first))


FORKED = """
import os
from wattbench.processes.identity import process_id
print(process_id(), flush=True)
if os.fork() == 0:
    print(process_id(), flush=True)
    os._exit(0)
os.wait()
print(process_id(), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_is_another_one():
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, check=True
    )
    before, child, after = done.stdout.split()
    assert before == after != child
