"""``wattbench matrix`` on a rig without servers: each card has a speed of its own.

A script, for children. What a visit costs depends on card and cell alone, so that it is the same
however the visits are shared out among processes. While the file that HOLD names is there, it waits
before each image.
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.made_runs import ENVIRONMENT, made_run
from tests.study.made_rig import BEGAN, MadeRig
from wattbench.cli import matrix
from wattbench.cli.matrix_progress import Progress
from wattbench.report import reserved
from wattbench.study.plan import read_plan

HOLD = "WATTBENCH_TEST_HOLD"
FACTORS = {"GPU-slow": 2.0}


class CardRig(MadeRig):
    """The rig of the card that CUDA_VISIBLE_DEVICES names."""

    arguments = ()
    uuid = ""

    def environment(self):
        return {**super().environment(), "gpu_uuid": self.uuid}

    def measure(self, instrumented, name):
        while os.environ.get(HOLD) and Path(os.environ[HOLD]).exists():
            time.sleep(0.05)
        prompt = super().measure(instrumented, name)
        block, cell, number = (int(part.strip("bc")) for part in name.split("_"))
        at = BEGAN + timedelta(seconds=10_000 * block + 100 * cell + number)
        runs = tuple(
            replace(
                run,
                run_id=f"{self.uuid} {name}",
                started_at=at.isoformat(),
                process_id=f"{self.uuid} {block} {cell}",
                environment=replace(ENVIRONMENT, gpu_uuid=self.uuid, gpu_name=f"Made {self.uuid}"),
            )
            for run in prompt.runs
        )
        return replace(prompt, runs=runs)


def main(given, uuid):
    """The exit code of a matrix with these arguments on that card."""
    parser = argparse.ArgumentParser()
    matrix.register(parser.add_subparsers())
    cut = given.index("--") if "--" in given else len(given)
    args = parser.parse_args(["matrix", *given[:cut]])
    args.out.mkdir(parents=True, exist_ok=True)
    plan = read_plan(Path(args.plan), matrix.WORKFLOWS).only(args.workload)
    factor = FACTORS.get(uuid, 1.0)
    rig = CardRig(made_run, {"as_is": factor, "sdpa": 0.8 * factor})
    rig.uuid = uuid
    with reserved(args.out):
        return matrix.carry_out(
            args, plan, rig, Progress(args.json), lambda cap_w: None, lambda cap_w: ""
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ.get("CUDA_VISIBLE_DEVICES", "")))
