"""Every metric agrees with another implementation on natural pictures, and falls into its traps."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import laplace
from skimage.filters import laplace as skimage_laplace
from skimage.measure import shannon_entropy
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from wattbench.quality import METRICS
from wattbench.quality.base import Seen, UnmeasuredError, luma
from wattbench.quality.colourfulness import colourfulness
from wattbench.quality.entropy import entropy_bit
from wattbench.quality.psnr import psnr_db
from wattbench.quality.sharpness import laplacian_variance
from wattbench.quality.ssim import ssim

WITHIN = 1e-6
BY_NAME = {metric.name: metric for metric in METRICS}


def as_luma(picture):
    return np.asarray(Image.fromarray(picture).convert("L"))


def test_luma_is_pillows(natural):
    assert np.array_equal(luma(natural), as_luma(natural))


def test_sharpness_is_that_of_scipy_and_scikit_image(natural):
    grey = as_luma(natural).astype(float)
    assert laplacian_variance(natural) == pytest.approx(laplace(grey, mode="mirror").var(), WITHIN)
    # scikit-image treats borders otherwise: of a picture within a mirrored frame they are alike.
    framed = skimage_laplace(np.pad(grey, 2, mode="reflect"))[2:-2, 2:-2]
    assert laplacian_variance(natural) == pytest.approx(framed.var(), WITHIN)


def test_entropy_is_that_of_scikit_image_and_pillow(natural):
    grey = as_luma(natural)
    assert entropy_bit(natural) == pytest.approx(shannon_entropy(grey), WITHIN)
    assert entropy_bit(natural) == pytest.approx(Image.fromarray(grey).entropy(), WITHIN)


def test_colourfulness_is_that_of_the_paper_in_pillows_integers(natural):
    """From sums of integers, as by hand: no array of ours is in it."""
    red, green, blue = (np.asarray(c, int) for c in Image.fromarray(natural).split())
    opponents = red - green, red + green - 2 * blue
    means = [int(o.sum()) / o.size for o in opponents]
    variances = [int((o * o).sum()) / o.size - m * m for o, m in zip(opponents, means, strict=True)]
    spread = math.sqrt(variances[0] + variances[1] / 4)
    distance = math.sqrt(means[0] ** 2 + means[1] ** 2 / 4)
    assert colourfulness(natural) == pytest.approx(spread + 0.3 * distance, WITHIN)


def test_psnr_and_ssim_are_those_of_scikit_image(natural, with_noise):
    noisy = with_noise(natural)
    of = Seen(noisy, natural)
    assert BY_NAME["psnr"].measure(of, None) == pytest.approx(
        peak_signal_noise_ratio(natural, noisy), WITHIN
    )
    theirs = structural_similarity(
        natural / 255,
        noisy / 255,
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        use_sample_covariance=False,
    )
    assert BY_NAME["ssim"].measure(of, None) == pytest.approx(theirs, WITHIN)


def test_published_orders_of_magnitude():
    """What no picture has: nothing to see, and all that 8 bits hold."""
    grey = np.full((16, 16, 3), 77, np.uint8)
    found = [f(grey) for f in (laplacian_variance, colourfulness, entropy_bit)]
    assert found == [0, 0, 0]
    assert math.copysign(1, entropy_bit(grey)) == 1
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    assert entropy_bit(levels) == 8


def test_noise_looks_sharp_and_order_does_not_matter_to_entropy(cat, with_noise):
    assert laplacian_variance(with_noise(cat, 40)) > 2 * laplacian_variance(cat)
    points = np.random.default_rng(0).permutation(cat.reshape(-1, 3)).reshape(cat.shape)
    assert entropy_bit(points) == entropy_bit(cat)


def test_equal_pictures(cat):
    assert ssim(cat / 255, cat / 255) == pytest.approx(1)
    assert psnr_db(cat / 255, cat / 255) == math.inf
    with pytest.raises(UnmeasuredError, match="infinite"):
        BY_NAME["psnr"].measure(Seen(cat, cat), None)


def test_a_reference_must_be_there_and_of_the_same_size(cat):
    for name in ("psnr", "ssim"):
        with pytest.raises(UnmeasuredError, match="no reference"):
            BY_NAME[name].measure(Seen(cat), None)
        with pytest.raises(UnmeasuredError, match="another size"):
            BY_NAME[name].measure(Seen(cat, cat[:20]), None)


def test_a_metric_says_all_that_its_column_needs():
    assert [metric.name for metric in METRICS] == [
        "clip_score",
        "sharpness",
        "colourfulness",
        "entropy",
        "psnr",
        "ssim",
        "lpips",
        "dists",
    ]
    assert all(metric.meaning and metric.range for metric in METRICS)
    assert {m.name for m in METRICS if m.load is not None} == {"clip_score", "lpips", "dists"}
