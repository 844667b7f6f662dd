"""Which layers of a model are quantized, which have only their weights quantized, and which stay.

Names are those of ComfyUI's modules without the file's prefix (``layers.0.attention.qkv``). Only
matrices are candidates: convolutions, norms and single vectors always stay as they are. Three
groups are treated apart:

- What model detection reads the shape of, and embeddings: never quantized.
- First and last layers and the embeddings of time and text, small and sensitive: kept, unless the
  user releases them.
- Modulation layers, whose input is one vector per picture and whose product therefore costs nothing
  but the reading of the weights: their weights are quantized, their activations are not. They hold
  a quarter to a third of the weights of Flux, SD3.5 and Qwen-Image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from .base import Format, WeightRangeError
from .formats import find

if TYPE_CHECKING:
    import torch

DETECTION = (
    # Shapes that ComfyUI's comfy/model_detection.py reads, for the families that it can detect.
    "*_block*.0.1.transformer_blocks.0.attn2.to_k",
    "*.transformer_blocks.0.attn2.to_k",
    "*.transformer_blocks.0.attn2.to_v",
    "label_emb.0.0",
    "img_in",
    "txt_in",
    "vector_in.in_layer",
    "context_embedder",
    "y_embedder.mlp.0",
    "x_embedder",
    "cap_embedder.1",
    "proj_out",
    "patch_embedding",
    "head.head",
    "cond_in",
    "siglip_embedder.1",
    "clip_text_pooled_proj.1",
    "final_layer.linear",
    "dec_net.*",
    "noise_refiner.0.attention.to_k",
    "time_text_embed.*",
    "blocks.0.ffn.0",
)
"""Never quantized: a packed matrix has another shape, and the file would not be recognised."""

EMBEDDINGS = (
    "*_embedding",
    "*_embeddings",
    "*_embs",
    "*.embed",
    "*embed_tokens*",
    "*lm_head",
    "*shared",
    "*relative_attention_bias",
    "*patch_embed*",
    "*pos_embed*",
)
"""Never quantized: tables to look up in, and what reads them."""

SENSITIVE = (
    "time_embed.*",
    "label_emb.*",
    "*emb_layers.*",
    "t_embedder.*",
    "y_embedder.*",
    "cap_embedder.*",
    "time_in.*",
    "vector_in.*",
    "guidance_in.*",
    "*final_layer.*",
    "norm_out.*",
    "*text_projection*",
    "*norm*",
)
"""Kept by default."""

BARE = (
    "*.ff_i.gate",
    "*.moe.gate",
    "timestep_features",
    "motion_encoder.*",
    "*.motion_encoder.*",
)
"""Parameters that no linear layer holds, whose scales nobody multiplies by: gates of mixtures of
experts (HiDream, Hunyuan3D 2.1), Fourier features, Wan Animate's encoder of faces. For where the
model itself is not there to be asked; a test holds it against what ComfyUI builds."""

MODULATION = ("*adaLN_modulation.*", "*_mod.*", "*modulation.lin")
"""Weights quantized, activations not."""


@dataclass(frozen=True)
class Quantized:
    """The layer is stored in ``format``."""

    format: Format


@dataclass(frozen=True)
class Kept:
    """The layer stays as it is, for ``reason``."""

    reason: str


@dataclass(frozen=True)
class LayerRules:
    """Which layers are quantized.

    Attributes:
        keep: patterns of names to keep in high precision, as of ``fnmatch`` (``layers.0.*``).
        release: patterns of names to quantize although they are kept by default; what model
            detection reads and embeddings cannot be released.
        linears: the names of the linear layers, where the model was built to ask it; ``None`` tells
            them by their names.
    """

    keep: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    linears: frozenset[str] | None = None

    @classmethod
    def parse(cls, text: str) -> LayerRules:
        """Rules from patterns separated by commas, blanks or lines; ``-`` before one releases."""
        patterns = text.replace(",", " ").split()
        return cls(
            tuple(p for p in patterns if not p.startswith("-")),
            tuple(p[1:] for p in patterns if p.startswith("-")),
        )

    def unmatched(self, names: Iterable[str]) -> list[str]:
        """The patterns that match none of the layers ``names``."""
        names = list(names)
        return [
            pattern
            for pattern in (*self.keep, *self.release)
            if not any(fnmatchcase(name, pattern) for name in names)
        ]

    def decide(self, name: str, shape: tuple[int, ...], wanted: Format) -> Quantized | Kept:
        """What becomes of the weight ``[out, in]`` of layer ``name`` if ``wanted`` is asked for."""
        if not wanted.is_quantized:
            return Quantized(wanted)
        if len(shape) != 2:
            return Kept("convolution" if len(shape) > 2 else "vector")
        if 0 in shape:
            return Kept("it is empty")
        if self.linears is not None and name not in self.linears:
            return Kept("no linear layer of the model")
        for patterns, reason in (
            (self.keep, "the user keeps it"),
            (DETECTION, "model detection reads its shape"),
            (EMBEDDINGS, "embedding"),
            (BARE, "no linear layer of the model"),
        ):
            if _matches(name, patterns):
                return Kept(reason)
        chosen = wanted
        if not _matches(name, self.release):
            if _matches(name, MODULATION) and not _matches(name, ("*final_layer.*",)):
                chosen = find(wanted.weight_only)
            elif _matches(name, SENSITIVE):
                return Kept("kept by default: first, last or embedding layer")
        reason = chosen.supports(shape)
        return Kept(reason) if reason else Quantized(chosen)


def quantize_layer(name: str, weight: torch.Tensor, chosen: Format) -> dict[str, torch.Tensor]:
    """The tensors that store the weight of layer ``name``, by suffix.

    Raises:
        WeightRangeError: the weight holds infinities or NaN; the message names the layer.
    """
    try:
        return chosen.quantize(weight)
    except WeightRangeError as error:
        raise WeightRangeError(
            f"layer {name} cannot be quantized: {error}. Keep it in high precision with the "
            f"pattern {name}, or get the file again."
        ) from error


def is_table(name: str) -> bool:
    """Whether layer ``name`` is an embedding, which is looked up in and not multiplied with."""
    return _matches(name, EMBEDDINGS)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
