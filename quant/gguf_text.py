"""The names of text encoders in GGUF files, which llama.cpp gives them, and ComfyUI's."""

from __future__ import annotations

import re

T5 = {
    "token_embd": "shared",
    "enc.output_norm": "encoder.final_layer_norm",
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "attn_norm": "layer.0.layer_norm",
    "ffn_gate": "layer.1.DenseReluDense.wi_0",
    "ffn_up": "layer.1.DenseReluDense.wi_1",
    "ffn_down": "layer.1.DenseReluDense.wo",
    "ffn_norm": "layer.1.layer_norm",
}

QWEN = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}

BLOCK = re.compile(r"(?P<side>enc\.)?blk\.(?P<number>\d+)\.(?P<part>\w+)$")

ENCODERS = {
    "t5": (T5, "encoder.block."),
    "t5encoder": (T5, "encoder.block."),
    "qwen2": (QWEN, "model.layers."),
    "qwen2vl": (QWEN, "model.layers."),
    "qwen3": (QWEN, "model.layers."),
}
"""By ``general.architecture``: names of parts, and what stands before a block's number."""

OTHERS = ("llama", "gemma2", "gemma3", "mistral3", "clip", "umt5")
"""Text encoders whose weights llama.cpp rearranges, or whose tokenizers ComfyUI reads of a file."""


UNGATED = {"ffn_up": "layer.1.DenseReluDense.wi"}
"""The first T5 has one matrix where T5 1.1 has a gate beside it; both have the same kind."""


def native_name(architecture: str, name: str, is_gated: bool = True) -> str:
    """ComfyUI's name of a tensor of a text encoder; ``name`` itself for any other model's.

    ``is_gated`` says whether the file has gates of feed-forward parts.

    >>> native_name("qwen3", "blk.3.attn_q.weight")
    'model.layers.3.self_attn.q_proj.weight'
    """
    if architecture not in ENCODERS:
        return name
    parts, blocks = ENCODERS[architecture]
    if parts is T5 and not is_gated:
        parts = {**T5, **UNGATED}
    stem, _, kind = name.rpartition(".")
    block = BLOCK.match(stem)
    if block is not None and block["part"] in parts:
        return f"{blocks}{block['number']}.{parts[block['part']]}.{kind}"
    return f"{parts[stem]}.{kind}" if stem in parts else name
