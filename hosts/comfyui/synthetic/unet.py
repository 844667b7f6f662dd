"""What the UNets of SD 1.5 and SDXL share."""

from __future__ import annotations

import re

import torch

from .architecture import Gains, Weights
from .weights import RESIDUAL_GAIN

UNET = {
    "use_checkpoint": False,
    "image_size": 32,
    "use_spatial_transformer": True,
    "legacy": False,
    "in_channels": 4,
    "out_channels": 4,
    "use_temporal_resblock": False,
    "use_temporal_attention": False,
}
"""The part of a UNet's detected configuration that is the same for both."""

GAINS: Gains = (
    (r"(out_layers\.3|\.proj_out|to_out\.0|ff\.net\.2)\.weight$", RESIDUAL_GAIN),
    (r"^out\.2\.weight$", RESIDUAL_GAIN),
)

_SKIP = re.compile(r"^output_blocks\.(\d+)\.0\.skip_connection\.weight$")


def predict_the_noise(weights: Weights) -> None:
    """Make the UNet's prediction resemble the noise in its input, as a trained one's does.

    A prediction of unit variance that has nothing to do with the input would leave the noise of the
    first step, sigma 14.6, in the latent. Here the last block's skip connection hands on the
    features of the first convolution, and that convolution's transpose, added to the random last
    one, turns them back into the input. For a last norm with unit output, SiLU passes half of a
    feature's linear part, since E[SiLU'(x)] = 1/2 for a normal x.
    """
    first = weights["input_blocks.0.0.weight"].float()
    channels = first.shape[0]
    last_block = max(int(match[1]) for name in weights if (match := _SKIP.match(name)))
    name = f"output_blocks.{last_block}.0.skip_connection.weight"
    skip = weights[name].float() * RESIDUAL_GAIN
    skip[:, -channels:] = torch.eye(channels, device=skip.device)[:, :, None, None]
    weights[name].copy_(skip)
    transpose = first.flip(2, 3).transpose(0, 1)
    energy = first.pow(2).sum() / first.shape[1]
    last = weights["out.2.weight"]
    last.copy_(last.float() + 2 * transpose / energy)
