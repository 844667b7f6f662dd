"""DISTS: how far structure and texture of two pictures are apart (Ding et al., TPAMI 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import Metric, Network, Seen, check_sides
from .networks import VGG16, as_tensor, files_of, has, named, taps, weights_of

if TYPE_CHECKING:
    import torch

MEAN = (0.485, 0.456, 0.406)
STDEV = (0.229, 0.224, 0.225)
"""Of ImageNet's pictures."""

CHANNELS = (3, 64, 128, 256, 512, 512)
"""Of the picture and of the five taps."""

FLOOR = 1e-6
LEAST_PX = 32


class Dists:
    """Distance of two pictures, as the authors' package computes it, at their own size.

    Args:
        weights: of torchvision's ``vgg16``, with the authors' ``alpha`` and ``beta``.

    Raises:
        ValueError: weights are missing.
    """

    def __init__(self, weights: dict[str, Any]) -> None:
        if not has(weights, VGG16, (64, 3, 3, 3)) or not {"alpha", "beta"} <= weights.keys():
            raise ValueError(
                "DISTS needs torchvision's vgg16 and the weights.pt of the package DISTS_pytorch "
                "(alpha and beta) in one folder"
            )
        total = weights["alpha"].sum() + weights["beta"].sum()
        self.weights = weights
        self.alpha, self.beta = (
            (weights[name].flatten() / total).split(CHANNELS) for name in ("alpha", "beta")
        )

    def __call__(self, reference: np.ndarray, picture: np.ndarray) -> float:
        """Of pictures ``[height, width, 3]`` with values between 0 and 1.

        Raises:
            UnmeasuredError: a side is shorter than 32 points.
        """
        import torch

        check_sides("DISTS", LEAST_PX, picture)
        with torch.inference_mode():
            pairs = zip(self._taps(reference), self._taps(picture), strict=True)
            alike = sum(
                float((alpha * texture + beta * structure).sum())
                for alpha, beta, (texture, structure) in zip(
                    self.alpha, self.beta, (_alike(x, y) for x, y in pairs), strict=True
                )
            )
        return 1 - alike

    def _taps(self, picture: np.ndarray) -> list[torch.Tensor]:
        kernel = self.weights["features.0.weight"]
        values = as_tensor(picture).to(kernel)
        mean, stdev = (kernel.new_tensor(v)[:, None, None] for v in (MEAN, STDEV))
        return [values, *taps((values - mean) / stdev, self.weights, VGG16, _l2_pool)]


def load_dists(place: Path) -> Network:
    """DISTS of the weights in a folder.

    Raises:
        ValueError: they are missing or damaged.
    """
    files = files_of(place)
    return Network(named(files), Dists(weights_of(files)))


def _l2_pool(values: torch.Tensor, size: int, stride: int) -> torch.Tensor:
    """The root of the weighted mean of squares, by a Hann window of three points a side."""
    from torch.nn.functional import conv2d

    window = values.new_tensor([1.0, 2.0, 1.0])
    window = window[:, None] * window / 16
    channels = values.shape[1]
    kernel = window.expand(channels, 1, 3, 3)
    smooth = conv2d(values.square(), kernel, stride=stride, padding=1, groups=channels)
    return (smooth + 1e-12).sqrt()


def _alike(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How alike texture (means) and structure (correlation) are, by channel."""
    points = (2, 3)
    mean_x, mean_y = x.mean(points, keepdim=True), y.mean(points, keepdim=True)
    texture = (2 * mean_x * mean_y + FLOOR) / (mean_x**2 + mean_y**2 + FLOOR)
    variances = ((x - mean_x) ** 2).mean(points) + ((y - mean_y) ** 2).mean(points)
    covariance = (x * y).mean(points) - (mean_x * mean_y).flatten(1)
    structure = (2 * covariance + FLOOR) / (variances + FLOOR)
    return texture.flatten(), structure.flatten()


def _measure(seen: Seen, network: Dists) -> float:
    return network(*seen.pair)


DISTS = Metric(
    name="dists",
    unit="",
    better="lower",
    range="0 (equal) to 1",
    meaning="distance of structure and texture to the reference's picture, which forgives another "
    "sample of the same texture, by the network of `quality_models`",
    measure=_measure,
    load=load_dists,
    needs="reference",
    point=0.01,
)
