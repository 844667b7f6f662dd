"""Runs of several sources as one set, so that one table compares them."""

from __future__ import annotations

from comfy_api.latest import io

from ..records import Run
from .types import CATEGORY, Runs

MAX_SETS = 32


class WattBenchJoinRuns(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchJoinRuns",
            display_name="Join Runs (WattBench)",
            category=CATEGORY,
            description=(
                "Joins the runs of several benchmarks into one set: for one table that compares "
                "them, and one export."
            ),
            search_aliases=["compare benchmarks", "concatenate runs", "merge runs"],
            inputs=[
                io.Autogrow.Input(
                    "sets",
                    template=io.Autogrow.TemplatePrefix(
                        Runs.Input("runs", tooltip="From Benchmark or Collect Runs."),
                        prefix="runs",
                        min=2,
                        max=MAX_SETS,
                    ),
                ),
            ],
            outputs=[
                Runs.Output(display_name="runs", tooltip="Connect to Export CSV or Show Summary.")
            ],
        )

    @classmethod
    def execute(cls, sets: dict[str, tuple[Run, ...]]) -> io.NodeOutput:
        return io.NodeOutput(tuple(run for runs in sets.values() for run in runs))


NODES: list[type[io.ComfyNode]] = [WattBenchJoinRuns]
