"""Measured twins of core nodes: the same inputs, the same result, and what it took."""

from __future__ import annotations

from typing import Any, ClassVar

from comfy_api.latest import io

from ..hosts.comfyui.core import core_description, core_inputs, core_outputs, run_core
from ..hosts.comfyui.describe import clip_facts, vae_facts
from ..hosts.comfyui.host import HOST
from ..hosts.comfyui.incoming import meter_of
from ..hosts.comfyui.pipeline import decode_latent, encode_text
from ..hosts.comfyui.sampling import observe_sampling
from ..measure.protocol.observation import Probe as ProbeValue
from ..measure.protocol.observation import observe
from .types import CATEGORY, MeteredNode, Probe, meter_input


class Twin(MeteredNode):
    """A core node with a meter: subclasses name it and say how it is measured."""

    NODE_ID: ClassVar[str]
    CORE_ID: ClassVar[str]
    TITLE: ClassVar[str]

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name=f"{cls.TITLE} (WattBench)",
            category=f"{CATEGORY}/measured",
            description=(
                f"Gives the result of {cls.CORE_ID}, bit for bit, and a probe with the time, "
                f"energy and memory it took.\n\n{core_description(cls.CORE_ID)}"
            ).strip(),
            search_aliases=[cls.CORE_ID, "measure", "energy", "benchmark"],
            inputs=[*core_inputs(cls.CORE_ID), meter_input()],
            outputs=[
                *core_outputs(cls.CORE_ID),
                Probe.Output(display_name="probe", tooltip="Connect to Collect Runs."),
            ],
        )


class LoaderTwin(Twin):
    """A loader: one phase, ``load``, on ComfyUI's main device."""

    @classmethod
    def execute(cls, meter: str = "auto", **inputs: Any) -> io.NodeOutput:
        probe = ProbeValue()
        with (
            observe(HOST, probe, HOST.device(), meter_of(meter), {}) as window,
            window.phase("load"),
        ):
            outputs = run_core(cls.CORE_ID, **inputs)
        return io.NodeOutput(*outputs, probe)


class WattBenchLoadCheckpoint(LoaderTwin):
    NODE_ID = "WattBenchLoadCheckpoint"
    CORE_ID = "CheckpointLoaderSimple"
    TITLE = "Load Checkpoint"


class WattBenchLoadDiffusionModel(LoaderTwin):
    NODE_ID = "WattBenchLoadDiffusionModel"
    CORE_ID = "UNETLoader"
    TITLE = "Load Diffusion Model"


class WattBenchLoadCLIP(LoaderTwin):
    NODE_ID = "WattBenchLoadCLIP"
    CORE_ID = "CLIPLoader"
    TITLE = "Load CLIP"


class WattBenchLoadVAE(LoaderTwin):
    NODE_ID = "WattBenchLoadVAE"
    CORE_ID = "VAELoader"
    TITLE = "Load VAE"


class WattBenchTextEncode(Twin):
    NODE_ID = "WattBenchTextEncode"
    CORE_ID = "CLIPTextEncode"
    TITLE = "CLIP Text Encode"

    @classmethod
    def execute(cls, clip: Any, text: str, meter: str = "auto") -> io.NodeOutput:
        probe = ProbeValue()
        with observe(HOST, probe, HOST.device(), meter_of(meter), clip_facts(clip)) as window:
            conditioning = encode_text(window, clip, text)
        return io.NodeOutput(conditioning, probe)


class WattBenchKSampler(Twin):
    NODE_ID = "WattBenchKSampler"
    CORE_ID = "KSampler"
    TITLE = "KSampler"

    @classmethod
    def execute(
        cls, model: Any, scheduler: str, meter: str = "auto", **inputs: Any
    ) -> io.NodeOutput:
        probe = ProbeValue()

        def record(facts: dict[str, Any], seed: int | None) -> Any:
            facts.update(scheduler=scheduler, sampler=inputs["sampler_name"], steps=inputs["steps"])
            return observe(HOST, probe, model.load_device, meter_of(meter), facts, seed)

        observed = observe_sampling(model, record)
        (latent,) = run_core(cls.CORE_ID, model=observed, scheduler=scheduler, **inputs)
        return io.NodeOutput(latent, probe)


class WattBenchVAEDecode(Twin):
    NODE_ID = "WattBenchVAEDecode"
    CORE_ID = "VAEDecode"
    TITLE = "VAE Decode"

    @classmethod
    def execute(cls, samples: dict[str, Any], vae: Any, meter: str = "auto") -> io.NodeOutput:
        probe = ProbeValue()
        with observe(HOST, probe, HOST.device(), meter_of(meter), vae_facts(vae)) as window:
            image = decode_latent(window, vae, samples)
        return io.NodeOutput(image, probe)


NODES: list[type[io.ComfyNode]] = [
    WattBenchLoadCheckpoint,
    WattBenchLoadDiffusionModel,
    WattBenchLoadCLIP,
    WattBenchLoadVAE,
    WattBenchTextEncode,
    WattBenchKSampler,
    WattBenchVAEDecode,
]
