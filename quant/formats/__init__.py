"""The weight formats. To add one, write its file and put it into ``FORMATS``."""

from __future__ import annotations

from ...offer import Machine, Offer
from ..base import Format
from . import blockscaled, fp8, gguf, int4_gemm, int8, nf4, plain, w4a8

FORMATS: tuple[Format, ...] = (
    plain.BF16,
    plain.FP16,
    fp8.FP8_W,
    fp8.FP8,
    fp8.FP8_STATIC,
    blockscaled.MXFP8,
    int8.INT8,
    int8.INT8_W8A8,
    nf4.NF4,
    nf4.INT4,
    blockscaled.NVFP4,
    int4_gemm.INT4_GEMM,
    w4a8.W4A8_INT8,
    gguf.GGUF,
)


def find(name: str) -> Format:
    """The format called ``name``; ``gguf:Q4_K`` is the block type of a GGUF file's layer.

    Raises:
        ValueError: there is none; the message lists them.
    """
    for weight_format in FORMATS:
        if weight_format.name == name:
            return weight_format
    if name.startswith(gguf.PREFIX):
        return gguf.of_type(name.removeprefix(gguf.PREFIX))
    names = ", ".join(weight_format.name for weight_format in FORMATS)
    raise ValueError(f"unknown weight format {name!r}; choose one of {names}")


def offers(machine: Machine) -> list[Offer]:
    """Every format, as ``machine`` has it."""
    return [weight_format.offer(machine) for weight_format in FORMATS]
