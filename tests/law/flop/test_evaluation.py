"""One evaluation of every denoiser against torch's count over ComfyUI's full-size model."""

import pytest

from wattbench.law.flop import FORMULAS

SIZES = [
    # width_px, height_px, batch, text_tokens
    (256, 256, 2, 12),
    (1048, 520, 3, 7),
    (2048, 2048, 1, 300),
]
UNET = {
    "image_size": 32,
    "out_channels": 4,
    "use_spatial_transformer": True,
    "legacy": False,
    "in_channels": 4,
    "model_channels": 320,
}
SD_DEPTHS = {
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1] * 9 + [0] * 3,
}


def build(comfy, architecture, **common):
    """The denoiser at its real size, from ComfyUI's class."""
    unet = comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel
    if architecture == "sd15":
        return unet(context_dim=768, num_heads=8, **SD_DEPTHS, **UNET, **common)
    if architecture == "sd2":
        return unet(
            context_dim=1024,
            num_head_channels=64,
            use_linear_in_transformer=True,
            **SD_DEPTHS,
            **UNET,
            **common,
        )
    if architecture == "sdxl":
        return unet(
            num_classes="sequential",
            adm_in_channels=2816,
            num_res_blocks=[2, 2, 2],
            transformer_depth=[0, 0, 2, 2, 10, 10],
            channel_mult=[1, 2, 4],
            transformer_depth_middle=10,
            use_linear_in_transformer=True,
            context_dim=2048,
            num_head_channels=64,
            transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10],
            **UNET,
            **common,
        )
    if architecture == "sd35":
        context = {
            "target": "torch.nn.Linear",
            "params": {"in_features": 4096, "out_features": 2432},
        }
        return comfy.ldm.modules.diffusionmodules.mmdit.OpenAISignatureMMDITWrapper(
            input_size=None,
            patch_size=2,
            in_channels=16,
            depth=38,
            pos_embed_max_size=192,
            num_patches=192 * 192,
            adm_in_channels=2048,
            qk_norm="rms",
            context_embedder_config=context,
            **common,
        )
    if architecture == "flux":
        return comfy.ldm.flux.model.Flux(
            in_channels=16,
            out_channels=16,
            vec_in_dim=768,
            context_in_dim=4096,
            hidden_size=3072,
            mlp_ratio=4.0,
            num_heads=24,
            depth=19,
            depth_single_blocks=38,
            axes_dim=[16, 56, 56],
            theta=10000,
            patch_size=2,
            qkv_bias=True,
            guidance_embed=True,
            txt_ids_dims=[],
            **common,
        )
    if architecture.startswith("flux2_klein"):
        is_large = architecture.endswith("9b")
        return comfy.ldm.flux.model.Flux(
            in_channels=128,
            out_channels=128,
            vec_in_dim=None,
            context_in_dim=CONTEXT_WIDTH[architecture],
            hidden_size=4096 if is_large else 3072,
            mlp_ratio=3.0,
            num_heads=32 if is_large else 24,
            depth=8 if is_large else 5,
            depth_single_blocks=24 if is_large else 20,
            axes_dim=[32, 32, 32, 32],
            theta=2000,
            patch_size=1,
            qkv_bias=False,
            guidance_embed=False,
            txt_ids_dims=[3],
            global_modulation=True,
            mlp_silu_act=True,
            ops_bias=False,
            default_ref_method="index",
            ref_index_scale=10.0,
            **common,
        )
    if architecture == "qwen_image":
        return comfy.ldm.qwen_image.model.QwenImageTransformer2DModel(
            in_channels=64, out_channels=16, num_layers=60, **common
        )
    return comfy.ldm.lumina.model.NextDiT(
        patch_size=2,
        in_channels=16,
        dim=3840,
        cap_feat_dim=2560,
        n_layers=30,
        qk_norm=True,
        n_heads=30,
        n_kv_heads=30,
        axes_dims=[32, 48, 48],
        axes_lens=[1536, 512, 512],
        rope_theta=256.0,
        ffn_dim_multiplier=8 / 3,
        z_image_modulation=True,
        time_scale=1000.0,
        pad_tokens_multiple=32,
        **common,
    )


DETECTED = {
    "sd15": "SD15",
    "sd2": "SD20",
    "sdxl": "SDXL",
    "sd35": "SD3",
    "flux": "Flux",
    "flux2_klein": "Flux2",
    "flux2_klein_9b": "Flux2",
    "qwen_image": "QwenImage",
    "z_image": "ZImage",
}
CONTEXT_WIDTH = {
    "sd15": 768,
    "sd2": 1024,
    "sdxl": 2048,
    "sd35": 4096,
    "flux": 4096,
    "flux2_klein": 7680,
    "flux2_klein_9b": 12288,
    "qwen_image": 3584,
    "z_image": 2560,
}
LATENT_CHANNELS = {
    **dict.fromkeys(("sd15", "sd2", "sdxl"), 4),
    **dict.fromkeys(("flux2_klein", "flux2_klein_9b"), 128),
}


@pytest.fixture(scope="module", params=list(FORMULAS))
def denoiser(request, comfyui_meta):
    import torch

    comfy = comfyui_meta.comfy
    common = {
        "device": "meta",
        "dtype": torch.bfloat16,
        "operations": comfy.ops.disable_weight_init,
    }
    return request.param, build(comfy, request.param, **common)


def run(architecture, model, width_px, height_px, batch, context_rows):
    """One forward pass as ComfyUI's model classes call it, on meta tensors."""
    import torch
    from comfy.ldm.modules.attention import attention_pytorch

    def empty(*shape):
        return torch.empty(*shape, device="meta", dtype=torch.bfloat16)

    def attention(original, *args, **kwargs):
        return attention_pytorch(*args, **kwargs)

    channels = LATENT_CHANNELS.get(architecture, 16)
    frames = (1,) if architecture == "qwen_image" else ()
    px = FORMULAS[architecture].px_per_cell
    latent = empty(batch, channels, *frames, height_px // px, width_px // px)
    extra = {
        "sdxl": {"y": empty(batch, 2816)},
        "sd35": {"y": empty(batch, 2048)},
        "flux": {"y": empty(batch, 768), "guidance": empty(batch)},
        "z_image": {"num_tokens": context_rows},
    }.get(architecture, {})
    return model(
        latent,
        empty(batch),
        empty(batch, context_rows, CONTEXT_WIDTH[architecture]),
        transformer_options={"optimized_attention_override": attention},
        **extra,
    )


@pytest.mark.parametrize(("width_px", "height_px", "batch", "text_tokens"), SIZES)
def test_flops_are_those_torch_counts(
    denoiser, count_flops, width_px, height_px, batch, text_tokens
):
    architecture, model = denoiser
    formula = FORMULAS[architecture]
    rows = formula.context_rows(text_tokens)
    counted, _ = count_flops(
        lambda: run(architecture, model, width_px, height_px, batch, rows),
    )
    ours = formula.evaluation(width_px, height_px, rows).batched(batch)
    assert ours.flops == counted


def test_weights_are_those_of_the_model(denoiser):
    """Biases, norms and embeddings apart, every parameter is a weight that a pass reads."""
    architecture, model = denoiser
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.ndim > 1)
    work = FORMULAS[architecture].evaluation(1024, 1024, 77)
    assert work.weights == pytest.approx(matrices, rel=0.001)


def test_comfyui_takes_the_model_for_what_it_is(denoiser, comfyui_meta):
    architecture, model = denoiser
    detected = comfyui_meta.comfy.model_detection.model_config_from_unet(model.state_dict(), "")
    assert type(detected).__name__ == DETECTED[architecture]
