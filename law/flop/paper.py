"""The count of Iyengar et al., arXiv 2511.17031v2, appendix Tables 3 to 5, as published.

It reproduces that paper's fits and nothing else: ``docs/flop.md`` says where it differs from what
the models compute. The terms that the tables leave as dots are left out here too. The names of the
primitives and the order of their arguments are the paper's (``Tr``, ``MMDiT``, ``CrossTr``,
``Res``, ``Dec``).
"""

from __future__ import annotations

from collections.abc import Callable

from .base import Formula

FLUX_TEXT_ROWS = 512
SD35_TEXT_ROWS = 333
"""77 rows of CLIP and 256 of T5."""
CLIP_ROWS = 77


def conv2d(kernel: int, c_in: int, c_out: int, height: int, width: int) -> int:
    """Table 4, "Convolution"."""
    return 2 * height * width * kernel**2 * c_in * c_out


def transformer(d_model: int, d_ff: int, d_attn: int, n_layer: int, n_ctx: int) -> int:
    """Table 4, "Transformer"; the attention term is Kaplan's, half of QKᵀ and AV."""
    parameters = 2 * d_model * n_layer * (2 * d_attn + d_ff)
    return n_ctx * (2 * parameters + 2 * n_layer * n_ctx * d_attn)


def mmdit(d_model: int, d_ff: int, d_attn: int, n_layer: int, n_ctx: int) -> int:
    """Table 4, "MMDiT": twice the parameters, each used by half of the rows.

    So it counts what :func:`transformer` counts.
    """
    parameters = 4 * d_model * n_layer * (2 * d_attn + d_ff)
    return n_ctx * (parameters + 2 * n_layer * n_ctx * d_attn)


def cross_transformer(
    d_q: int, d_k: int, d_ff: int, d_attn: int, n_layer: int, n_q: int, n_k: int
) -> int:
    """Table 4, "Cross-Attn Tr."; keys and values are counted for every query row."""
    parameters = 2 * n_layer * (d_q * (d_attn + d_ff) + d_k * d_attn)
    return n_q * (2 * parameters + 2 * n_layer * n_k * d_attn)


def resnet_block(kernel: int, c_in: int, c_out: int, height: int, width: int) -> int:
    """Table 4, "ResNetBlock": two convolutions, no shortcut."""
    first = conv2d(kernel, c_in, c_out, height, width)
    return first + conv2d(kernel, c_out, c_out, height, width)


def decode(width_px: int, height_px: int) -> int:
    """Table 4, "Decoder": one decoder for all models."""
    h, w = height_px // 8, width_px // 8
    total = conv2d(3, 16, 512, h, w) + 2 * resnet_block(3, 512, 512, h, w)
    total += transformer(512, 256, 512, 1, h * w) + 3 * resnet_block(3, 512, 512, h, w)
    total += conv2d(3, 512, 512, 2 * h, 2 * w) + 3 * resnet_block(3, 512, 512, 2 * h, 2 * w)
    total += conv2d(3, 512, 512, 4 * h, 4 * w) + resnet_block(3, 512, 256, 4 * h, 4 * w)
    total += 2 * resnet_block(3, 256, 256, 4 * h, 4 * w) + conv2d(3, 256, 256, 8 * h, 8 * w)
    total += resnet_block(3, 256, 128, 8 * h, 8 * w) + 2 * resnet_block(3, 128, 128, 8 * h, 8 * w)
    return total + conv2d(3, 128, 3, 8 * h, 8 * w)


def flux(width_px: int, height_px: int, context_rows: int) -> int:
    """Table 5, FLUX."""
    n_ctx = _patches(width_px, height_px) + context_rows
    double = mmdit(3072, 12288, 3072, 19, n_ctx)
    return double + transformer(3072, 12288, 3072, 38, n_ctx)


def qwen_image(width_px: int, height_px: int, context_rows: int) -> int:
    """Table 5, Qwen (image)."""
    return mmdit(3072, 12288, 3072, 60, _patches(width_px, height_px) + context_rows)


def sd35(width_px: int, height_px: int, context_rows: int) -> int:
    """Table 5, SD 3.5; d_ff is 9478 there where the model has 9728."""
    return mmdit(2432, 9478, 2432, 38, _patches(width_px, height_px) + context_rows)


def sd2(width_px: int, height_px: int, context_rows: int) -> int:
    """Table 3: U-Net of Stable Diffusion 2."""
    h, w = height_px // 8, width_px // 8
    total = conv2d(3, 4, 320, h, w)
    total += 2 * resnet_block(3, 320, 320, h, w) + 2 * _spatial(320, h * w, context_rows)
    total += conv2d(3, 320, 320, h // 2, w // 2) + _sd2_inner(h // 2, w // 2, context_rows)
    total += 2 * resnet_block(3, 640, 320, h, w) + resnet_block(3, 960, 320, h, w)
    total += 3 * (_spatial(320, h * w, context_rows) + 2 * conv2d(1, 320, 320, h, w))
    return total + conv2d(3, 320, 4, h, w)


def _sd2_inner(h: int, w: int, context_rows: int) -> int:
    """From "Down 2" to "Up 3"; ``h`` and ``w`` are those of "Down 2"."""
    total = 0
    sizes = ((h, w), (h // 2, w // 2), (h // 4, w // 4))
    for (c_in, c), size, below in (
        ((320, 640), sizes[0], sizes[1]),
        ((640, 1280), sizes[1], sizes[2]),
    ):
        total += resnet_block(3, c_in, c, *size) + resnet_block(3, c, c, *size)
        total += 2 * _spatial(c, size[0] * size[1], context_rows) + conv2d(3, c, c, *below)
    total += 4 * resnet_block(3, 1280, 1280, *sizes[2])
    total += _spatial(1280, sizes[2][0] * sizes[2][1], context_rows)
    total += 3 * resnet_block(3, 2560, 1280, *sizes[2]) + conv2d(3, 1280, 1280, *sizes[1])
    total += 2 * resnet_block(3, 2560, 1280, *sizes[1]) + resnet_block(3, 1920, 1280, *sizes[1])
    total += 3 * _spatial(1280, sizes[1][0] * sizes[1][1], context_rows) + conv2d(
        3, 1280, 1280, *sizes[0]
    )
    total += sum(resnet_block(3, c_in, 640, *sizes[0]) for c_in in (1920, 1280, 960))
    return (
        total
        + 3 * _spatial(640, sizes[0][0] * sizes[0][1], context_rows)
        + conv2d(3, 640, 640, 2 * h, 2 * w)
    )


def _spatial(c: int, rows: int, context_rows: int) -> int:
    """Self-attention, then cross-attention with the gated feed-forward counted as 6 c wide."""
    cross = cross_transformer(c, 1024, 6 * c, c, 1, rows, context_rows)
    return transformer(c, 0, c, 1, rows) + cross


def flux_text(text_tokens: int) -> int:
    return _clip_l() + _t5_xxl(FLUX_TEXT_ROWS)


def qwen_text(text_tokens: int) -> int:
    """The correction takes the fewer key and value heads off."""
    full = transformer(3584, 18944, 3584, 28, text_tokens)
    return full + 28 * text_tokens * 2 * (2 * 3584 * (512 - 3584))


def sd35_text(text_tokens: int) -> int:
    return _clip_l() + transformer(1280, 5120, 1280, 32, CLIP_ROWS) + _t5_xxl(256)


def sd2_text(text_tokens: int) -> int:
    """The paper has no line for it: its transformer with the sizes of OpenCLIP ViT-H/14."""
    return transformer(1024, 4096, 1024, 24, CLIP_ROWS)


def _clip_l() -> int:
    return transformer(768, 3072, 768, 12, CLIP_ROWS)


def _t5_xxl(rows: int) -> int:
    return transformer(4096, 10240, 4096, 24, rows) + 24 * 10240 * 4097


def _patches(width_px: int, height_px: int) -> int:
    return -(-width_px // 16) * -(-height_px // 16)


def _always(rows: int) -> Callable[[int], int]:
    """The rows of a model whose pipeline pads or cuts every prompt to one length."""
    return lambda text_tokens: rows


FLUX = Formula(_always(FLUX_TEXT_ROWS), flux_text, flux, decode)
QWEN_IMAGE = Formula(lambda text_tokens: text_tokens, qwen_text, qwen_image, decode)
SD35 = Formula(_always(SD35_TEXT_ROWS), sd35_text, sd35, decode)
SD2 = Formula(_always(CLIP_ROWS), sd2_text, sd2, decode)
