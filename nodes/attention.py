"""Choose a model's attention kernel, and see which ones this machine has and what ran."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from comfy_api.latest import io

from ..attention import BACKENDS, offers
from ..hosts.comfyui.attention import (
    AUTO,
    COMFYUI,
    PREFIX,
    Setting,
    attention_choices,
    choose_attention,
    override_of,
)
from ..hosts.comfyui.host import HOST
from ..hosts.comfyui.workspace import attention_memory
from ..offer import Machine, Offer, machine_of
from .table import shown_table
from .types import CATEGORY

HEADINGS = ("Kernel", "Here", "What it is, or why not and what to do")
NOT_COVERED = (
    "Text encoders, VAEs and ControlNets choose their attention elsewhere and are not covered."
)


class WattBenchAttentionBackend(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchAttentionBackend",
            display_name="Attention Backend (WattBench)",
            category=CATEGORY,
            description=(
                "Chooses the attention kernel of this model, and of no other, and counts which "
                "kernel really ran. The first call of every shape is compared with fp32. A call "
                "that the kernel cannot run, or gets wrong, falls back to sdpa, and the run's "
                "table says how often and why."
            ),
            search_aliases=[
                "sage",
                "sage_1",
                "sage_2",
                "sage attention",
                "sageattention",
                "flash",
                "flash attention",
                "sdpa",
                "xformers",
                "speed",
            ],
            inputs=[
                io.Model.Input("model", tooltip="A clone of it is changed."),
                io.Combo.Input(
                    "backend",
                    options=attention_choices(),
                    default=AUTO,
                    tooltip=(
                        "auto: times every kernel on the model's own calls and takes the fastest "
                        "that is right. comfyui: what ComfyUI is set to, counted. comfyui:NAME: a "
                        "function that ComfyUI registers. Not all are on every machine; Attention "
                        "Info says which and why."
                    ),
                ),
                io.Boolean.Input(
                    "strict",
                    default=False,
                    tooltip="Stop with an error where a call cannot run on the chosen kernel.",
                ),
                io.Float.Input(
                    "max_error",
                    default=Setting.max_error,
                    min=0.0,
                    max=1.0,
                    step=0.005,
                    round=False,
                    tooltip=(
                        "For kernels that quantize (sage): the relative error against fp32 above "
                        "which a kernel is refused. 0 refuses them all. Exact kernels may have "
                        "twice the error of sdpa."
                    ),
                ),
                io.Boolean.Input(
                    "timed",
                    default=False,
                    tooltip=(
                        "Measure the seconds of every attention call. It costs a little time, so "
                        "leave it off for a figure to publish."
                    ),
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="Connect to a sampler or Benchmark."),
                io.String.Output(
                    display_name="report",
                    tooltip="What was chosen, and what this machine makes of it.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model: Any, backend: str, strict: bool, max_error: float, timed: bool
    ) -> io.NodeOutput:
        setting = Setting(backend, strict, max_error, timed)
        chosen = choose_attention(model, setting, attention_memory())
        return io.NodeOutput(chosen, report(setting, machine_of(chosen.load_device)))


class WattBenchAttentionInfo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchAttentionInfo",
            display_name="Attention Info (WattBench)",
            category=CATEGORY,
            description=(
                "Lists the attention kernels: which ones this machine has, and for each other why "
                "not and what to do. With a model from Attention Backend, also what was decided "
                "for it and what ran."
            ),
            search_aliases=["attention kernels", "which attention", "sage", "flash"],
            is_output_node=True,
            inputs=[
                io.Model.Input(
                    "model", optional=True, tooltip="From Attention Backend: what ran on it."
                ),
                io.AnyType.Input(
                    "after",
                    optional=True,
                    tooltip="What must be made first, for example the sampled latent.",
                ),
            ],
            outputs=[io.String.Output(display_name="table", tooltip="The table as text.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> float:
        """Never equal to itself: what ran changes while the inputs do not."""
        return float("nan")

    @classmethod
    def execute(cls, model: Any = None, after: Any = None) -> io.NodeOutput:
        device = HOST.device() if model is None else model.load_device
        shown = shown_table(HEADINGS, list(rows(offers(machine_of(device)))), list(what_ran(model)))
        return io.NodeOutput(shown["text"][0], ui=shown)


def report(setting: Setting, machine: Machine) -> str:
    """What a choice means on a machine, before anything has run."""
    name = setting.requested
    if name == AUTO:
        said = "the fastest kernel that is right, for each shape; see the log or Attention Info"
    elif name == COMFYUI:
        said = "what ComfyUI is set to, counted"
    elif name.startswith(PREFIX):
        said = "ComfyUI's function, which may itself fall back without a word"
    else:
        offer = next(b for b in BACKENDS if b.name == name).offer(machine)
        said = offer.description if offer.available else _why_not(offer)
    otherwise = "raises an error" if setting.strict else "falls back to sdpa and is counted"
    return f"{name}: {said}. A call that it cannot run {otherwise}. {NOT_COVERED}"


def rows(all_offers: list[Offer]) -> Iterator[tuple[str, str, str]]:
    """A row for each kernel, with the reason and the remedy of a refusal."""
    for offer in all_offers:
        said = offer.description if offer.available else _why_not(offer)
        yield offer.name, "yes" if offer.available else "no", said


def what_ran(model: Any) -> Iterator[str]:
    """What the attention choice of a model, if there is one, decided and counted in its latest
    sampling."""
    if model is None:
        return
    override = override_of(model)
    if override is None:
        yield "This model has no attention choice: connect it from Attention Backend."
        return
    yield f"Requested: {override.setting.requested}"
    for calls in override.read():
        seconds = "" if calls.duration_s is None else f", {calls.duration_s:.4g} s"
        because = f", because {calls.reason}" if calls.reason else ""
        yield f"Executed: {calls.executed}, {calls.call_count} calls{seconds}{because}"
    for label, decision in override.decisions.items():
        yield f"{label}: {decision}"
    yield NOT_COVERED


def _why_not(offer: Offer) -> str:
    return f"not here, because {offer.reason}; {offer.remedy}"


NODES: list[type[io.ComfyNode]] = [WattBenchAttentionBackend, WattBenchAttentionInfo]
