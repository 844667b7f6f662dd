"""One name for one process, another for any other."""

import subprocess
import sys

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
