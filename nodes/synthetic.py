"""The synthetic model's node."""

from __future__ import annotations

from comfy_api.latest import io

from ..hosts.comfyui import synthetic


class WattBenchSyntheticModel(io.ComfyNode):
    """A MODEL, CLIP and VAE with random weights, for measurements without a download."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchSyntheticModel",
            display_name="Synthetic Model (WattBench)",
            category="WattBench",
            description=(
                "A real architecture with random weights. Its pictures mean nothing; at full size "
                "its seconds, joules and memory are those of the real model. Nothing is "
                "downloaded, and everything measured on it is marked weights=synthetic."
            ),
            search_aliases=["random weights", "dummy model", "benchmark model"],
            inputs=[
                io.Combo.Input(
                    "architecture",
                    options=list(synthetic.ARCHITECTURES),
                    tooltip="Which model's architecture to build, with its text encoders and VAE.",
                ),
                io.Combo.Input(
                    "size",
                    options=list(synthetic.SIZES),
                    tooltip=(
                        "tiny: a few million parameters, samples in seconds on a CPU. "
                        "full: the real number of layers, channels and heads."
                    ),
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(synthetic.DTYPES),
                    tooltip=(
                        "Format of the diffusion model's and text encoder's weights. auto: what "
                        "ComfyUI chooses on this device. float8_e4m3fn: plain FP8 weights, cast "
                        "when used. The VAE's format is ComfyUI's choice."
                    ),
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Seed of the weights. The same seed gives the same weights.",
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="The diffusion model."),
                io.Clip.Output(tooltip="The text encoder, with the real tokenizer."),
                io.Vae.Output(tooltip="The VAE."),
            ],
        )

    @classmethod
    def execute(cls, architecture: str, size: str, dtype: str, seed: int) -> io.NodeOutput:
        return io.NodeOutput(*synthetic.build(architecture, size, dtype, seed))


NODES = [WattBenchSyntheticModel]
