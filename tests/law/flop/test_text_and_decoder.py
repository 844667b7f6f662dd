"""Text encoders and decoders against torch's count over ComfyUI's full-size models."""

import pytest

from wattbench.law.flop import FORMULAS, qwen_image, text_encoders

TOKENS = [0, 75, 76, 300, 501]


def prompt(tokens):
    """A word that every tokenizer here takes for one token."""
    return " ".join(["cat"] * tokens)


@pytest.fixture(scope="module")
def encoders(comfyui_meta):
    """Architecture to (tokenizer, full-size text encoder on the meta device)."""
    import torch
    from comfy import sd1_clip, sdxl_clip
    from comfy.text_encoders import flux, qwen_image, sd2_clip, sd3_clip, z_image

    pairs = {
        "sd15": (sd1_clip.SD1Tokenizer, sd1_clip.SD1ClipModel),
        "sd2": (sd2_clip.SD2Tokenizer, sd2_clip.SD2ClipModel),
        "sdxl": (sdxl_clip.SDXLTokenizer, sdxl_clip.SDXLClipModel),
        "sd35": (sd3_clip.SD3Tokenizer, sd3_clip.sd3_clip(dtype_t5=torch.bfloat16)),
        "flux": (flux.FluxTokenizer, flux.flux_clip(dtype_t5=torch.bfloat16)),
        "flux2_klein": (flux.KleinTokenizer, flux.klein_te(dtype_llama=torch.bfloat16)),
        "flux2_klein_9b": (
            flux.KleinTokenizer8B,
            flux.klein_te(dtype_llama=torch.bfloat16, model_type="qwen3_8b"),
        ),
        "qwen_image": (qwen_image.QwenImageTokenizer, qwen_image.te()),
        "z_image": (z_image.ZImageTokenizer, z_image.te()),
    }
    built = {}

    def get(architecture):
        if architecture not in built:
            tokenizer, model = pairs[architecture]
            built[architecture] = tokenizer(), model(device="meta", dtype=torch.bfloat16)
        return built[architecture]

    return get


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("architecture", [name for name in FORMULAS if name != "qwen_image"])
def test_text_encoding(architecture, tokens, encoders, comfyui_meta, count_flops, monkeypatch):
    import torch

    management = comfyui_meta.comfy.model_management
    monkeypatch.setattr(management, "intermediate_device", lambda: torch.device("meta"))
    tokenizer, model = encoders(architecture)
    pairs = tokenizer.tokenize_with_weights(prompt(tokens))
    counted, encoded = count_flops(lambda: model.encode_token_weights(pairs))
    formula = FORMULAS[architecture]
    assert formula.text_encode(tokens).flops == pytest.approx(counted, rel=0.001)
    assert formula.context_rows(tokens) == encoded[0].shape[1]


@pytest.mark.parametrize("tokens", TOKENS[1:])
def test_text_encoding_of_qwen_image(tokens, encoders, count_flops):
    """Its encoder cuts the template by reading a mask, which the meta device cannot: count inside.

    The template ends 3 tokens behind the second <|im_start|> (151644).
    """
    tokenizer, model = encoders("qwen_image")
    (pairs,) = tokenizer.tokenize_with_weights(prompt(tokens))["qwen25_7b"]
    ids = [pair[0] for pair in pairs]
    counted, _ = count_flops(lambda: model.qwen25_7b([ids]))
    formula = FORMULAS["qwen_image"]
    assert formula.text_encode(tokens).flops == pytest.approx(counted, rel=0.001)
    cut = [at for at, token in enumerate(ids) if token == 151644][1] + 3
    assert cut == qwen_image.TEMPLATE_PREFIX_TOKENS
    assert formula.context_rows(tokens) == len(ids) - cut


@pytest.mark.parametrize(("edge_px", "batch"), [(256, 2), (1024, 1), (2048, 1)])
@pytest.mark.parametrize("architecture", ["sd15", "flux", "flux2_klein", "qwen_image"])
def test_decoding(architecture, edge_px, batch, decoders, count_flops):
    import torch

    model, channels, frames = decoders(architecture)
    px = FORMULAS[architecture].px_per_cell
    size = edge_px // px, edge_px * 3 // 4 // px
    latent = torch.empty(batch, channels, *frames, *size, device="meta")
    counted, _ = count_flops(lambda: model.decode(latent))
    ours = FORMULAS[architecture].decode(edge_px * 3 // 4, edge_px).batched(batch)
    assert ours.flops == pytest.approx(counted, rel=0.001)


@pytest.fixture(scope="module")
def decoders(comfyui_meta):
    """Architecture to (full-size autoencoder on the meta device, latent channels, frames)."""
    import torch
    from comfy.ldm.modules.diffusionmodules.model import pytorch_attention

    autoencoder = comfyui_meta.comfy.ldm.models.autoencoder
    parts = "comfy.ldm.modules.diffusionmodules.model."

    def config(z_channels):
        return {
            "double_z": True,
            "z_channels": z_channels,
            "resolution": 256,
            "in_channels": 3,
            "out_ch": 3,
            "ch": 128,
            "ch_mult": [1, 2, 4, 4],
            "num_res_blocks": 2,
            "attn_resolutions": [],
            "dropout": 0.0,
        }

    regularizer = {"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"}
    with torch.device("meta"):
        built = {
            "sd15": (autoencoder.AutoencoderKL(ddconfig=config(4), embed_dim=4), 4, ()),
            "flux": (
                autoencoder.AutoencodingEngine(
                    regularizer_config=regularizer,
                    encoder_config={"target": parts + "Encoder", "params": config(16)},
                    decoder_config={"target": parts + "Decoder", "params": config(16)},
                ),
                16,
                (),
            ),
            "flux2_klein": (
                autoencoder.AutoencoderKL(
                    ddconfig={**config(32), "batch_norm_latent": True}, embed_dim=32
                ),
                128,
                (),
            ),
            "qwen_image": (
                comfyui_meta.comfy.ldm.wan.vae.WanVAE(
                    dim=96, z_dim=16, temperal_downsample=[False, True, True]
                ),
                16,
                (1,),
            ),
        }
    for model, _, _ in built.values():
        for module in model.modules():
            if hasattr(module, "optimized_attention"):
                module.optimized_attention = pytorch_attention
    return built.__getitem__


def test_sections_of_clip():
    assert [text_encoders.clip_sections(n) for n in (0, 1, 75, 76, 150, 151)] == [1, 1, 1, 2, 2, 3]
