"""GGUF files of a model's weights, as ComfyUI-GGUF writes them."""

import gguf
import numpy as np
import torch

Q = gguf.GGMLQuantizationType


def blocks(kind, rows, columns, seed=0):
    """Random blocks of a type for a matrix: uint8 ``[rows, bytes]``; its scales are small numbers.

    The package gguf widens all types and makes only a few, so the bytes come first here.
    """
    weights, nbytes = gguf.GGML_QUANT_SIZES[kind]
    random = np.random.default_rng(seed)
    raw = random.integers(0, 256, (rows * columns // weights, nbytes), dtype=np.uint8)
    for start in SCALES.get(kind, (0,)):
        halves = random.uniform(0.5, 1.5, len(raw)).astype(np.float16) * np.float16(1e-3)
        raw[:, start : start + 2] = halves.view(np.uint8).reshape(-1, 2)
    if kind == Q.IQ1_M:  # a scale of 0x1400 in the upper halves of four bytes
        raw[:, 49::2] = (raw[:, 49::2] & 15) | np.array([0, 0, 64, 16], dtype=np.uint8)
    return raw.reshape(rows, -1)


SCALES = {
    Q.Q4_1: (0, 2),
    Q.Q5_1: (0, 2),
    Q.Q2_K: (80, 82),
    Q.Q3_K: (108,),
    Q.Q4_K: (0, 2),
    Q.Q5_K: (0, 2),
    Q.Q6_K: (208,),
    Q.TQ1_0: (52,),
    Q.TQ2_0: (64,),
    Q.IQ1_M: (),
}
"""Where the fp16 scales of a block's type lie, if not at its start."""


def write_gguf(path, weights, kinds, arch="flux", extra=None):
    """Write ``weights`` with the matrices named in ``kinds`` in blocks; answers what they widen to.

    A matrix whose rows are no multiple of the block is laid out anew, 256 weights to a row, and its
    shape noted, as ComfyUI-GGUF does.
    """
    writer = gguf.GGUFWriter(path, arch)
    wide = {}
    for name, tensor in weights.items():
        kind = kinds.get(name)
        if kind is None:
            writer.add_tensor(name, tensor.float().numpy())
            continue
        rows, columns = tensor.shape
        if columns % gguf.GGML_QUANT_SIZES[kind][0]:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", [rows, columns])
            rows, columns = rows * columns // 256, 256
        raw = blocks(kind, rows, columns)
        writer.add_tensor(name, raw, raw_dtype=kind)
        values = torch.from_numpy(gguf.quants.dequantize(raw, kind))
        wide[name] = values.reshape(tensor.shape).to(tensor.dtype)
    for name, array in (extra or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {**weights, **wide}
