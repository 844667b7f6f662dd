"""A node pack for the tests of the command line: it writes the journal as the real pack does.

What the real nodes measure is tested with them. Here a run costs nothing and a node can be told to
fail, to wait, or to take the server down, which no honest benchmark node offers.
"""

from __future__ import annotations

import datetime
import os
import time
import uuid
from pathlib import Path

import folder_paths
from comfy_api.latest import ComfyExtension, io
from comfy_execution.utils import get_executing_context

from wattbench.measure.protocol.journal import Journal
from wattbench.processes.identity import process_id
from wattbench.records import Condition, Environment, Phase, Run

VISIT = int(os.environ.get("WATTBENCH_VISIT", "1"))


def a_run(seed: int, repeat: int) -> Run:
    return Run(
        run_id=str(uuid.uuid4()),
        started_at=datetime.datetime.now(datetime.timezone.utc).isoformat(),
        condition=Condition(
            "test", "test", "synthetic", "", "", 64, 64, 1, 4, 1.0, "euler", "normal"
        ),
        environment=Environment(
            "", "", "", "", "", "", "ComfyUI", "", "", "", "", "", "a CPU", None
        ),
        seed=seed,
        visit=VISIT,
        repeat=repeat,
        is_warmup=False,
        phases=(Phase("denoise", 0.0, 2.0 + 0.1 * repeat),),
        wall_time_s=2.0 + 0.1 * repeat,
        energy_note=os.environ.get("WATTBENCH_METER", "no meter"),
        job_id=get_executing_context().prompt_id,
        process_id=process_id(),
    )


class JournalNode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="WattBenchBenchmark",
            category="tests",
            inputs=[
                io.Image.Input("image"),
                io.Int.Input("repeats", default=2, min=1),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF),
                io.Combo.Input("then", options=["succeed", "fail", "wait", "die in visit 2"]),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return time.monotonic_ns()

    @classmethod
    def execute(cls, image, repeats, seed, then):
        from comfy.model_management import throw_exception_if_processing_interrupted

        journal = Journal(Path(folder_paths.get_output_directory(), "wattbench", "journal.jsonl"))
        for repeat in range(repeats):
            journal.append(a_run(seed + repeat, repeat))
        if then == "fail":
            raise RuntimeError("asked to fail")
        if then == "die in visit 2" and VISIT == 2:
            os._exit(9)
        while then == "wait":
            throw_exception_if_processing_interrupted()
            time.sleep(0.05)
        return io.NodeOutput(image)


class OnceNode(JournalNode):
    """As above, but it does not repeat by itself."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="WattBenchCollect",
            category="tests",
            inputs=[
                io.Image.Input("image"),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image, seed):
        return super().execute(image, 1, seed, "succeed")


class JournalExtension(ComfyExtension):
    async def get_node_list(self):
        return [JournalNode, OnceNode]


async def comfy_entrypoint():
    return JournalExtension()
