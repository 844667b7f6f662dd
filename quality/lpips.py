"""LPIPS: how far apart two pictures are to a network (Zhang et al., arXiv 1801.03924)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import Metric, Network, Seen, check_sides
from .networks import ALEXNET, VGG16, as_tensor, files_of, has, named, taps, weights_of

if TYPE_CHECKING:
    import torch

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""By which the authors move values between -1 and 1 to those that the network knows."""

NETWORKS = {"alex": (ALEXNET, (64, 3, 11, 11)), "vgg": (VGG16, (64, 3, 3, 3))}
"""Layers, and the shape of the first kernel, by which a file is known."""

TAP_COUNT = 5

NORM_FLOOR = 1e-10

LEAST_PX = 64
"""A side shorter than this leaves nothing of a picture behind AlexNet's pools."""


class Lpips:
    """Distance of two pictures; version 0.1 of the authors' package.

    Args:
        weights: of torchvision's ``alexnet`` or ``vgg16``, and the authors' linear layers.

    Raises:
        ValueError: weights are missing.
    """

    def __init__(self, weights: dict[str, Any]) -> None:
        kinds = [k for k, (steps, shape) in NETWORKS.items() if has(weights, steps, shape)]
        lacking = [name for name in _linear() if name not in weights]
        if not kinds or lacking:
            raise ValueError(
                "LPIPS needs torchvision's alexnet or vgg16 and the linear layers of the package "
                "lpips (alex.pth or vgg.pth of its weights/v0.1) in one folder; "
                f"missing: {', '.join(lacking) or 'alexnet or vgg16'}"
            )
        self.steps, self.weights = NETWORKS[kinds[0]][0], weights

    def __call__(self, reference: np.ndarray, picture: np.ndarray) -> float:
        """Of pictures ``[height, width, 3]`` with values between 0 and 1.

        Raises:
            UnmeasuredError: a side is shorter than 64 points.
        """
        import torch

        check_sides("LPIPS", LEAST_PX, picture)
        with torch.inference_mode():
            pairs = zip(self._taps(reference), self._taps(picture), strict=True)
            return sum(
                float(((x - y) ** 2 * self.weights[name][0]).sum(1).mean())
                for name, (x, y) in zip(_linear(), pairs, strict=True)
            )

    def _taps(self, picture: np.ndarray) -> list[torch.Tensor]:
        from torch.nn.functional import max_pool2d

        kernel = self.weights["features.0.weight"]
        shift, scale = (kernel.new_tensor(v)[:, None, None] for v in (SHIFT, SCALE))
        values = (as_tensor(picture).to(kernel) * 2 - 1 - shift) / scale
        return [
            tap / (tap.square().sum(1, keepdim=True).sqrt() + NORM_FLOOR)
            for tap in taps(values, self.weights, self.steps, max_pool2d)
        ]


def load_lpips(place: Path) -> Network:
    """LPIPS of the weights in a folder.

    Raises:
        ValueError: they are missing or damaged.
    """
    files = files_of(place)
    return Network(named(files), Lpips(weights_of(files)))


def _linear() -> list[str]:
    return [f"lin{tap}.model.1.weight" for tap in range(TAP_COUNT)]


def _measure(seen: Seen, network: Lpips) -> float:
    return network(*seen.pair)


LPIPS = Metric(
    name="lpips",
    unit="",
    better="lower",
    range="from 0 (equal)",
    meaning="perceptual distance to the reference's picture, by the network of `quality_models`",
    measure=_measure,
    load=load_lpips,
    needs="reference",
    point=0.01,
)
