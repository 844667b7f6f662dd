"""The text encoders, each for one prompt.

``text_tokens`` always means the tokens of the prompt itself; what an encoder adds to them (start
and end tokens, padding, chat template) is added here or by the architecture. The sizes are those of
ComfyUI's configuration files and classes of the same names.
"""

from __future__ import annotations

from .primitives import Work, attention, linear

CLIP_SECTION_ROWS = 77
"""CLIP reads a prompt in sections of 77 rows: a start token, 75 tokens, an end token."""


def clip_sections(text_tokens: int) -> int:
    """Sections that ComfyUI cuts a prompt into; an empty prompt too is one."""
    return max(1, -(-text_tokens // (CLIP_SECTION_ROWS - 2)))


def clip_rows(text_tokens: int) -> int:
    """Rows of CLIP's output."""
    return CLIP_SECTION_ROWS * clip_sections(text_tokens)


def clip_l(text_tokens: int) -> Work:
    """OpenAI CLIP ViT-L/14, text side (SD1.5, SDXL, SD3.5, Flux)."""
    return _clip(text_tokens, layers=12, d=768)


def clip_h(text_tokens: int) -> Work:
    """OpenCLIP ViT-H/14, text side (SD2)."""
    return _clip(text_tokens, layers=24, d=1024)


def clip_g(text_tokens: int) -> Work:
    """OpenCLIP ViT-bigG/14, text side (SDXL, SD3.5)."""
    return _clip(text_tokens, layers=32, d=1280)


def t5_xxl(rows: int) -> Work:
    """T5 v1.1 XXL encoder over ``rows`` rows, padding and end token included."""
    d, d_ff = 4096, 10240
    block = 4 * linear(rows, d, d) + attention(rows, rows, d) + 3 * linear(rows, d, d_ff)
    return 24 * block


def qwen3_4b(rows: int) -> Work:
    """Qwen3-4B over ``rows`` rows, chat template included; no output head."""
    return _decoder(rows, layers=36, d=2560, d_ff=9728, heads=32, kv_heads=8)


def qwen3_8b(rows: int) -> Work:
    """Qwen3-8B over ``rows`` rows, chat template and padding included; no output head."""
    return _decoder(rows, layers=36, d=4096, d_ff=12288, heads=32, kv_heads=8)


def qwen2_5_vl_7b(rows: int) -> Work:
    """Qwen2.5-VL-7B, language side, over ``rows`` rows, chat template included; no output head."""
    return _decoder(rows, layers=28, d=3584, d_ff=18944, heads=28, kv_heads=4)


def _clip(text_tokens: int, layers: int, d: int) -> Work:
    rows = CLIP_SECTION_ROWS
    block = 4 * linear(rows, d, d) + attention(rows, rows, d) + 2 * linear(rows, d, 4 * d)
    return (layers * block + linear(1, d, d)).batched(clip_sections(text_tokens))


def _decoder(rows: int, layers: int, d: int, d_ff: int, heads: int, kv_heads: int) -> Work:
    """A decoder with grouped-query attention and a gated feed-forward, head dimension 128."""
    d_attn, d_kv = 128 * heads, 128 * kv_heads
    projections = 2 * linear(rows, d, d_attn) + 2 * linear(rows, d, d_kv)
    block = projections + attention(rows, rows, d_attn) + 3 * linear(rows, d, d_ff)
    return layers * block
