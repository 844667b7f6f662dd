"""``wattbench fleet run`` whose nodes run the made matrix: a script, for children."""

import functools
import os
import sys
from pathlib import Path

from wattbench import cli
from wattbench.fleet import coordinator, on_ray
from wattbench.processes.children import script_command

MADE = script_command(Path(__file__).with_name("made_matrix.py"), python=Path(sys.executable))


def do(assignment):
    """On a node; it does not have this script as a module."""
    from wattbench.fleet.worker import work

    return work(assignment, MADE)


if __name__ == "__main__":
    coordinator.BEGIN_S = float(os.environ.get("WATTBENCH_TEST_BEGIN_S", coordinator.BEGIN_S))
    on_ray.OnRay = functools.partial(on_ray.OnRay, do=do)
    sys.exit(cli.main(["fleet", "run", *sys.argv[1:]]))
