"""Which layers are quantized, by name and shape."""

import pytest

from wattbench.quant.formats import FORMATS, find
from wattbench.quant.layers import Kept, LayerRules, Quantized

BIG = (256, 256)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("layers.3.attention.qkv", BIG, "fp8"),
        ("layers.3.adaLN_modulation.0", BIG, "fp8_w"),
        ("double_blocks.0.img_mod.lin", BIG, "fp8_w"),
        ("transformer_blocks.0.txt_mod.1", BIG, "fp8_w"),
        ("single_blocks.0.modulation.lin", BIG, "fp8_w"),
        ("joint_blocks.0.context_block.adaLN_modulation.1", BIG, "fp8_w"),
        ("final_layer.adaLN_modulation.1", BIG, None),
        ("input_blocks.4.1.transformer_blocks.0.attn2.to_k", BIG, None),
        ("input_blocks.4.1.transformer_blocks.1.attn2.to_k", BIG, "fp8"),
        ("input_blocks.4.1.transformer_blocks.0.attn2.to_q", BIG, "fp8"),
        ("img_in", BIG, None),
        ("cap_embedder.1", BIG, None),
        ("time_embed.0", BIG, None),
        ("input_blocks.1.0.emb_layers.1", BIG, None),
        ("input_blocks.1.0.in_layers.2", (64, 64, 3, 3), None),
        ("layers.0.attention_norm1", (256,), None),
        ("text_model.embeddings.token_embedding", BIG, None),
        ("encoder.block.0.layer.0.SelfAttention.q", BIG, "fp8"),
        ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias", BIG, None),
    ],
)
def test_defaults(name, shape, expected):
    decision = LayerRules().decide(name, shape, find("fp8"))
    if expected is None:
        assert isinstance(decision, Kept)
        assert decision.reason
    else:
        assert decision == Quantized(find(expected))


WRITABLE = [f for f in FORMATS if f.can_quantize]


@pytest.mark.parametrize("weight_format", WRITABLE, ids=lambda weight_format: weight_format.name)
def test_modulation_never_quantizes_activations(weight_format):
    decision = LayerRules().decide("layers.0.adaLN_modulation.0", BIG, weight_format)
    assert isinstance(decision, Quantized)
    assert decision.format.hardware is None or not decision.format.is_quantized


def test_patterns_keep_and_release():
    rules = LayerRules.parse("layers.0.*, layers.1.*\n-*emb_layers.* -img_in -*.modulation.lin")
    fp8 = find("fp8")
    assert isinstance(rules.decide("layers.0.attention.qkv", BIG, fp8), Kept)
    assert isinstance(rules.decide("layers.1.attention.qkv", BIG, fp8), Kept)
    assert rules.decide("layers.2.attention.qkv", BIG, fp8) == Quantized(fp8)
    assert rules.decide("input_blocks.1.0.emb_layers.1", BIG, fp8) == Quantized(fp8)
    assert rules.decide("single_blocks.0.modulation.lin", BIG, fp8) == Quantized(fp8)


def test_what_detection_reads_cannot_be_released():
    decision = LayerRules.parse("-img_in").decide("img_in", BIG, find("nf4"))
    assert decision == Kept("model detection reads its shape")


def test_a_shape_that_does_not_fit_is_kept_with_its_reason():
    decision = LayerRules().decide("layers.0.attention.qkv", (64, 20), find("int4_gemm"))
    assert isinstance(decision, Kept)
    assert "20 columns" in decision.reason


def test_plain_formats_take_every_layer():
    assert LayerRules().decide("img_in", (4, 4, 2, 2), find("bf16")) == Quantized(find("bf16"))
