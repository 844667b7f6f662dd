"""Natural pictures, of which scikit-image's package ships some."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

NATURAL = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


def natural_picture(name):
    path = Path(skimage.data.__file__).parent / name
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(params=NATURAL)
def natural(request):
    """8-bit values, ``[height, width, 3]``."""
    return natural_picture(request.param)


@pytest.fixture
def cat():
    return natural_picture("chelsea.png")


@pytest.fixture
def with_noise():
    """A function that adds Gaussian noise to an 8-bit picture."""

    def add(picture, stdev=12.0, seed=0):
        noise = np.random.default_rng(seed).normal(0, stdev, picture.shape)
        return np.clip(picture + noise, 0, 255).astype(np.uint8)

    return add
