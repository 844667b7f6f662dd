"""Measure any workflow, whatever its sampler nodes are: a probe on the model, and a collector."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..hosts.comfyui.collected import made_of
from ..hosts.comfyui.host import HOST
from ..hosts.comfyui.incoming import meter_of
from ..hosts.comfyui.sampling import observe_sampling
from ..hosts.comfyui.unmeasured import follow_nodes
from ..hosts.comfyui.workspace import asked_of_sampler, name_in_pictures, nodes_behind
from ..measure.protocol.observation import Probe as ProbeValue
from ..measure.protocol.observation import join, observe, seen_in
from ..measure.protocol.session import open_journal
from .types import CATEGORY, MeteredNode, Probe, Runs, meter_input

MAX_PROBES = 16


class WattBenchProbeModel(MeteredNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchProbeModel",
            display_name="Probe Model (WattBench)",
            category=CATEGORY,
            description=(
                "Measures every sampling that is done with this model, by any sampler node. "
                "Connect the probe to Collect Runs."
            ),
            search_aliases=["measure model", "energy", "power", "watt", "vram", "benchmark"],
            inputs=[
                io.Model.Input("model", tooltip="It computes what it computed before."),
                meter_input(),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                Probe.Output(display_name="probe", tooltip="Connect to Collect Runs."),
            ],
        )

    @classmethod
    def execute(cls, model: Any, meter: str = "auto") -> io.NodeOutput:
        probe = ProbeValue()

        def record(facts: dict[str, Any], seed: int | None) -> Any:
            facts.update(asked_of_sampler())
            return observe(HOST, probe, model.load_device, meter_of(meter), facts, seed)

        return io.NodeOutput(observe_sampling(model, record), probe)


class WattBenchCollect(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        value = io.MatchType.Template("value", io.AnyType)
        return io.Schema(
            node_id="WattBenchCollect",
            display_name="Collect Runs (WattBench)",
            category=CATEGORY,
            description=(
                "Waits for a value, lets it through, and joins what the probes saw while it was "
                "made into one run. Parts that ComfyUI took from its cache were not run, so they "
                "are blank."
            ),
            search_aliases=["probe to runs", "join measurements"],
            # One prompt is one run, whatever lists ComfyUI maps its nodes over.
            is_input_list=True,
            inputs=[
                io.MatchType.Input(
                    "value",
                    template=value,
                    tooltip="What the measured nodes make, for example the decoded image.",
                ),
                io.Autogrow.Input(
                    "probes",
                    template=io.Autogrow.TemplatePrefix(
                        Probe.Input("probe", tooltip="From measured nodes or Probe Model."),
                        prefix="probe",
                        min=1,
                        max=MAX_PROBES,
                    ),
                ),
            ],
            outputs=[
                io.MatchType.Output(template=value, display_name="value", is_output_list=True),
                Runs.Output(display_name="runs", tooltip="Connect to Export CSV or Show Summary."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> str:
        """Always the same. ComfyUI asks for it before any node runs: then their time begins."""
        follow_nodes()
        return ""

    @classmethod
    def execute(cls, value: list[Any], probes: dict[str, list[ProbeValue]]) -> io.NodeOutput:
        made_by = nodes_behind(HOST.node_id())
        every = {id(probe): probe for listed in probes.values() for probe in listed}
        observations = seen_in(HOST.job_id(), made_by, every.values())
        if not observations:
            raise ValueError(
                "the probes saw nothing in this run: every measured node came from ComfyUI's "
                "cache, or 'value' does not depend on them. Change the seed, and connect something "
                "to 'value' that the measured nodes make."
            )
        run = join(observations, made_of(value, made_by, observations))
        open_journal(HOST).append(run)
        name_in_pictures([run])
        return io.NodeOutput(value, (run,))


NODES: list[type[io.ComfyNode]] = [WattBenchProbeModel, WattBenchCollect]
