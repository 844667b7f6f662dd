"""Names of text encoders, against the package gguf's own map from their makers' names."""

import gguf
import pytest
import torch

from wattbench.quant.files import FileError
from wattbench.quant.gguf_files import GgufFile
from wattbench.quant.gguf_text import QWEN, T5, native_name

KINDS = {
    "t5encoder": (gguf.MODEL_ARCH.T5ENCODER, T5, "encoder.block.{}."),
    "qwen2vl": (gguf.MODEL_ARCH.QWEN2VL, QWEN, "model.layers.{}."),
    "qwen3": (gguf.MODEL_ARCH.QWEN3, QWEN, "model.layers.{}."),
}


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_the_makers(kind):
    architecture, parts, blocks = KINDS[kind]
    names = gguf.get_tensor_name_map(architecture, 3)
    whole = ("shared", "encoder.", "model.", "lm_head")
    checked = 0
    for part in parts.values():
        theirs = part if part.startswith(whole) else blocks.format(2) + part
        found = names.get_name(f"{theirs}.weight", try_suffixes=(".weight",))
        if found is not None:
            assert native_name(kind, found) == f"{theirs}.weight"
            checked += 1
    assert checked >= 11


def test_a_t5_without_gates_has_one_matrix_in_their_place():
    name = "enc.blk.2.ffn_up.weight"
    assert native_name("t5", name) == "encoder.block.2.layer.1.DenseReluDense.wi_1.weight"
    assert native_name("t5", name, False) == "encoder.block.2.layer.1.DenseReluDense.wi.weight"
    assert native_name("qwen3", "blk.2.ffn_up.weight", False) == "model.layers.2.mlp.up_proj.weight"


def test_diffusion_models_keep_their_names():
    assert native_name("flux", "blk.1.attn_q.weight") == "blk.1.attn_q.weight"
    assert native_name("qwen3", "rope_freqs.weight") == "rope_freqs.weight"


@pytest.mark.parametrize(("kind", "name"), [("qwen3", "model.embed_tokens"), ("gemma3", None)])
def test_a_file_has_native_names_or_is_refused_by_its_kind(kind, name, tmp_path):
    path = tmp_path / "text.gguf"
    writer = gguf.GGUFWriter(path, kind)
    writer.add_tensor("token_embd.weight", torch.ones(4, 32).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if name is None:
        with pytest.raises(FileError, match=r"text\.gguf is a GGUF file of a text encoder.*gemma3"):
            GgufFile(path)
        return
    with GgufFile(path) as file:
        assert file.entries.keys() == {f"{name}.weight"}
        assert torch.equal(file.read(f"{name}.weight"), torch.ones(4, 32))
