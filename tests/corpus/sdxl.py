"""SDXL's U-Net in a file of zeros, with what tells its variants apart outside of it.

The file is sparse: ComfyUI tells the model by names and shapes, and writing it takes no time.
Import this where ComfyUI is on ``sys.path``.
"""

import torch

PREFIX = "model.diffusion_model."

FACTS = {
    "eps": {},
    "v_pred": {"v_pred": torch.zeros(0)},
    "v_pred, ztsnr": {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)},
    "Playground 2.5": {"edm_mean": torch.zeros(1, 4, 1, 1), "edm_std": torch.ones(1, 4, 1, 1)},
    "CosXL": {
        "edm_vpred.sigma_max": torch.tensor([120.0]),
        "edm_vpred.sigma_min": torch.tensor([0.002]),
    },
}
"""What files of these kinds hold beside the U-Net."""


def unet_shapes():
    """Shapes of a U-Net that ComfyUI takes for SDXL, by name; few channels, no attention up."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import disable_weight_init

    from wattbench.hosts.comfyui.synthetic import unet

    model = UNetModel(
        **unet.UNET,
        num_classes="sequential",
        use_linear_in_transformer=True,
        adm_in_channels=2816,
        model_channels=320,
        num_res_blocks=[2, 2, 2],
        transformer_depth=[0, 0, 2, 2, 10, 10],
        transformer_depth_output=[0] * 9,
        transformer_depth_middle=-1,
        channel_mult=[1, 1, 1],
        context_dim=2048,
        num_heads=-1,
        num_head_channels=64,
        device="meta",
        dtype=torch.float16,
        operations=disable_weight_init,
    )
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def write_variant(path, kind, prefix=PREFIX):
    """The kind's file as a checkpoint, or bare with an empty ``prefix``."""
    from ..reduced_checkpoints import write_safetensors

    zeros = {f"{prefix}{name}": shape for name, shape in unet_shapes().items()}
    write_safetensors(path, FACTS[kind], zeros, torch.float16)
