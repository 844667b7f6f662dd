"""A node pack for the tests of the command line: it writes a journal as the real one does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import folder_paths
from comfy_api.latest import ComfyExtension, io


class JournalNode(io.ComfyNode):
    """Passes an image through after writing one line for each repeat."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="WattBenchBenchmark",
            category="tests",
            inputs=[
                io.Image.Input("image"),
                io.Int.Input("repeats", default=2, min=1),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF),
                io.Combo.Input("then", options=["succeed", "fail", "wait", "die"]),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image, repeats, seed, then):
        from wattbench_test_runs import journal_line

        journal = Path(folder_paths.get_output_directory(), "wattbench", "journal.jsonl")
        journal.parent.mkdir(exist_ok=True)
        with journal.open("a", encoding="utf-8") as file:
            for repeat in range(repeats):
                file.write(journal_line(seed + repeat, repeat, int(os.environ["WATTBENCH_VISIT"])))
        if then == "fail":
            raise RuntimeError("asked to fail")
        if then == "wait":
            time.sleep(600)
        if then == "die":
            os._exit(9)
        return io.NodeOutput(image)


class JournalExtension(ComfyExtension):
    async def get_node_list(self):
        return [JournalNode]


async def comfy_entrypoint():
    return JournalExtension()
