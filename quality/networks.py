"""Networks whose layers see what eyes see: files, and what AlexNet and VGG-16 make of a picture.

Nothing is fetched. The files are those that their authors publish; a folder may hold several, and
the weights are found by their names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np

from ..incoming import check_file

if TYPE_CHECKING:
    import torch

SUFFIXES = (".safetensors", ".pth", ".pt")

MAX_FILE_BYTES = 4 * 1024**3

Pool = Callable[..., Any]

Step = tuple[str, int, int, int]
"""``conv``, the layer's number in torchvision's ``features``, stride and padding; ``pool`` with
size and stride; ``tap``, where the values are taken. A convolution is followed by a ReLU."""

ALEXNET: tuple[Step, ...] = (
    ("conv", 0, 4, 2),
    ("tap", 0, 0, 0),
    ("pool", 3, 2, 0),
    ("conv", 3, 1, 2),
    ("tap", 0, 0, 0),
    ("pool", 3, 2, 0),
    ("conv", 6, 1, 1),
    ("tap", 0, 0, 0),
    ("conv", 8, 1, 1),
    ("tap", 0, 0, 0),
    ("conv", 10, 1, 1),
    ("tap", 0, 0, 0),
)

VGG16: tuple[Step, ...] = tuple(
    step
    for block, layers in enumerate(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)))
    for step in (
        *([("pool", 2, 2, 0)] if block else []),
        *(("conv", layer, 1, 1) for layer in layers),
        ("tap", 0, 0, 0),
    )
)


def files_of(place: Path, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """The weight files that ``place``, a file or a folder, stands for.

    Raises:
        ValueError: there is none, or one is no regular file.
    """
    found = sorted(place.iterdir()) if place.is_dir() else [place]
    files = [check_file(path, MAX_FILE_BYTES) for path in found if path.suffix in suffixes]
    if not files:
        raise ValueError(f"{place} holds no file of weights ({', '.join(suffixes)}): put it there")
    return files


def named(files: Sequence[Path]) -> str:
    """The files with their SHA-256, for a row."""
    return " + ".join(f"{path.name} sha256 {_sha256(path)}" for path in files)


def weights_of(files: Sequence[Path]) -> dict[str, Any]:
    """All weights of the files by name, in fp32. A file of torch's is read without its code.

    Raises:
        ValueError: a file is none of weights; the message quotes nothing of it.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for path in files:
        try:
            held = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
            found.update((name, value.float()) for name, value in held.items())
        except UnpicklingError as error:
            raise ValueError(f"{path} holds more than weights, which is not loaded") from error
        except (SafetensorError, OSError, RuntimeError, AttributeError, EOFError) as error:
            raise ValueError(f"{path} cannot be read as weights: it is damaged") from error
    return found


def taps(
    picture: torch.Tensor, weights: Mapping[str, Any], steps: Sequence[Step], pool: Pool
) -> list[torch.Tensor]:
    """What the layers of a network hold at its taps; ``picture`` is ``[1, 3, height, width]``.

    Args:
        weights: by torchvision's names, ``features.0.weight``.
        pool: makes values smaller; given them with size and stride.
    """
    from torch.nn.functional import conv2d, relu

    found, values = [], picture
    for kind, first, second, third in steps:
        if kind == "conv":
            kernel, bias = (weights[f"features.{first}.{part}"] for part in ("weight", "bias"))
            values = relu(conv2d(values, kernel, bias, stride=second, padding=third))
        elif kind == "pool":
            values = pool(values, first, second)
        else:
            found.append(values)
    return found


def layers_of(steps: Sequence[Step]) -> list[str]:
    """The names of the weights that :func:`taps` needs."""
    return [
        f"features.{layer}.{part}"
        for kind, layer, *_ in steps
        if kind == "conv"
        for part in ("weight", "bias")
    ]


def has(weights: Mapping[str, Any], steps: Sequence[Step], shape: tuple[int, ...]) -> bool:
    """Whether ``weights`` are those of the network, whose first kernel is of ``shape``."""
    return all(name in weights for name in layers_of(steps)) and (
        tuple(weights["features.0.weight"].shape) == shape
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    """``[height, width, 3]`` as ``[1, 3, height, width]`` in fp32."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(picture)).movedim(-1, 0)[None].float()
