"""What else changes how a model computes: memory, noise levels, compilation, VAEs."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..attention import BACKENDS
from ..hosts.comfyui.compile import MODES, compile_model
from ..hosts.comfyui.core import blank
from ..hosts.comfyui.memory_format import use_channels_last, use_channels_last_vae
from ..hosts.comfyui.noise_levels import keep_levels_on_host
from ..hosts.comfyui.static_vram import keep_in_vram
from ..hosts.comfyui.vae_attention import choose_vae_attention
from .types import CATEGORY

DYNAMIC = {"auto": None, "always": True, "never": False}
"""Choices of ``dynamic`` and torch.compile's own values."""


class WattBenchMemoryFormat(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchMemoryFormat",
            display_name="Memory Format (WattBench)",
            category=CATEGORY,
            description=(
                "Lets the convolutions of this model or VAE compute in channels_last (NHWC), which "
                "tensor cores prefer. The weights are rearranged while it computes and put back "
                "afterwards: other nodes see the original. For U-Nets (SD 1.5, SDXL) and VAEs."
            ),
            search_aliases=["channels last", "NHWC", "faster"],
            inputs=[
                io.Model.Input("model", optional=True, tooltip="A clone of it is changed."),
                io.Vae.Input("vae", optional=True, tooltip="A copy of it is changed."),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model in channels_last."),
                io.Vae.Output(display_name="vae", tooltip="The VAE in channels_last."),
            ],
        )

    @classmethod
    def execute(cls, model: Any = None, vae: Any = None) -> io.NodeOutput:
        if model is None and vae is None:
            raise ValueError("nothing to change: connect a model, a VAE or both")
        return io.NodeOutput(
            blank() if model is None else use_channels_last(model),
            blank() if vae is None else use_channels_last_vae(vae),
        )


class WattBenchStaticVRAM(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchStaticVRAM",
            display_name="Static VRAM (WattBench)",
            category=CATEGORY,
            description=(
                "Loads the weights of this model before it runs, in place of ComfyUI's dynamic "
                "VRAM, which fetches them while it runs. That spares the host work at every layer "
                "where the model fits. Where dynamic VRAM is not in force, nothing changes."
            ),
            search_aliases=["dynamic vram", "aimdo", "disable-dynamic-vram", "faster"],
            inputs=[io.Model.Input("model", tooltip="A clone of it is changed.")],
            outputs=[io.Model.Output(display_name="model", tooltip="The model to sample with.")],
        )

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        return io.NodeOutput(keep_in_vram(model))


class WattBenchNoiseLevels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchNoiseLevels",
            display_name="Noise Levels (WattBench)",
            category=CATEGORY,
            description=(
                "Keeps a copy of the noise levels on the host, so that the sampler need not ask "
                "the card at every step whether one is zero, and wait for the answer. The picture "
                "is the same, bit for bit."
            ),
            search_aliases=["sigmas", "synchronize", "host wait", "faster"],
            inputs=[io.Model.Input("model", tooltip="A clone of it is changed.")],
            outputs=[io.Model.Output(display_name="model", tooltip="The model to sample with.")],
        )

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        return io.NodeOutput(keep_levels_on_host(model))


class WattBenchCompile(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchCompile",
            display_name="Compile (WattBench)",
            category=CATEGORY,
            description=(
                "Compiles this model with torch.compile when it first samples a size, before the "
                "sampling begins and outside of what is measured. That takes a minute or more; "
                "later runs of the size start at once. Other nodes see the original, uncompiled."
            ),
            search_aliases=["torch.compile", "inductor", "CUDA graphs", "faster"],
            inputs=[
                io.Model.Input("model", tooltip="A clone of it is compiled."),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=MODES[0],
                    tooltip=(
                        "reduce-overhead: CUDA graphs, which spare the time that the host takes to "
                        "launch kernels; they need some VRAM. default: without them. max-autotune: "
                        "tries more kernels, and compiles for several minutes."
                    ),
                ),
                io.Combo.Input(
                    "dynamic",
                    options=list(DYNAMIC),
                    default="auto",
                    tooltip=(
                        "Sizes of the picture. auto: fast for the first size, one slower version "
                        "for all others. always: one version for all. never: one for each."
                    ),
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model to sample with.")],
        )

    @classmethod
    def execute(cls, model: Any, mode: str, dynamic: str) -> io.NodeOutput:
        return io.NodeOutput(compile_model(model, mode, DYNAMIC[dynamic]))


class WattBenchVAEAttention(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchVAEAttention",
            display_name="VAE Attention (WattBench)",
            category=CATEGORY,
            description=(
                "Chooses the attention kernel of this VAE, and of no other, and counts its calls. "
                "A call that the kernel cannot run is left to ComfyUI's, and the run's table says "
                "so with the reason."
            ),
            search_aliases=["vae memory", "sub-quadratic", "sdpa"],
            inputs=[
                io.Vae.Input("vae", tooltip="A copy of it is changed."),
                io.Combo.Input(
                    "backend",
                    options=[backend.name for backend in BACKENDS],
                    default="sdpa",
                    tooltip=(
                        "A VAE has one head of 512 channels, which few kernels take: sdpa is the "
                        "fast one, sub_quadratic and split need the least memory."
                    ),
                ),
            ],
            outputs=[io.Vae.Output(display_name="vae", tooltip="The VAE to decode with.")],
        )

    @classmethod
    def execute(cls, vae: Any, backend: str) -> io.NodeOutput:
        return io.NodeOutput(choose_vae_attention(vae, backend))


NODES: list[type[io.ComfyNode]] = [
    WattBenchMemoryFormat,
    WattBenchStaticVRAM,
    WattBenchNoiseLevels,
    WattBenchCompile,
    WattBenchVAEAttention,
]
