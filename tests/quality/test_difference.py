"""Distances agree with scikit-image; broken pictures are named; the worst of a batch counts."""

import math

import numpy as np
import pytest

from wattbench.quality.difference import Limits, check_pictures, psnr_db, ssim


@pytest.fixture
def picture():
    """A smooth colour picture of ``[40, 56, 3]``."""
    y, x = np.mgrid[0:40, 0:56]
    return np.stack([(np.sin(x / 5 + c) + np.cos(y / (3 + c)) + 2) / 4 for c in range(3)], -1)


@pytest.fixture
def noisy(picture):
    y, x = np.mgrid[0:40, 0:56]
    return np.clip(picture + 0.1 * np.sin(x * y / 7.0)[..., None], 0, 1)


def test_distances_are_those_of_scikit_image(picture, noisy):
    """By scikit-image 0.26.0, ``gaussian_weights=True, use_sample_covariance=False``."""
    assert ssim(picture, noisy) == pytest.approx(0.7336235596280664, abs=1e-9)
    assert psnr_db(picture, noisy) == pytest.approx(23.44555199102463, abs=1e-9)
    assert ssim(picture, 1 - picture) == pytest.approx(-0.6037829188121592, abs=1e-9)
    assert psnr_db(picture, 1 - picture) == pytest.approx(5.9612165387462825, abs=1e-9)


def test_equal_pictures(picture):
    assert ssim(picture, picture) == pytest.approx(1)
    assert psnr_db(picture, picture) == math.inf
    check = check_pictures([picture], [picture], "run-a", Limits())
    assert (check.reference, check.fault, check.psnr_db) == ("run-a", "", None)
    assert check.ssim == pytest.approx(1)


def with_nan(picture):
    broken = picture.copy()
    broken[3, 4, 0] = np.nan
    return broken


@pytest.mark.parametrize(
    ("breaking", "fault"),
    [
        (with_nan, "NaN or infinity"),
        (np.zeros_like, "the picture is black"),
        (lambda picture: np.full_like(picture, 0.5), "the picture is flat"),
        (lambda picture: 1 - picture, "SSIM below 0.4"),
        (lambda picture: np.random.default_rng(0).random(picture.shape), "PSNR below 15 dB"),
    ],
)
def test_broken_pictures_are_named(picture, breaking, fault):
    assert fault in check_pictures([picture], [breaking(picture)], "a", Limits()).fault


def test_a_changed_picture_is_not_broken(picture, noisy):
    assert check_pictures([picture], [noisy], "a", Limits()).fault == ""
    assert check_pictures([picture], [noisy], "a", Limits(min_psnr_db=30)).fault != ""


def test_nothing_is_said_for_a_picture_by_a_broken_reference(picture):
    """What made both of them black is no saving either."""
    black = np.zeros_like(picture)
    check = check_pictures([black], [black], "a", Limits())
    assert check.fault == "the picture is black, the reference's picture is broken"
    assert check.ssim == pytest.approx(1)
    check = check_pictures([with_nan(picture)], [picture], "a", Limits())
    assert check.fault == "the reference's picture is broken"


def test_the_worst_of_a_batch_counts(picture, noisy):
    pair = check_pictures([picture, picture], [noisy, picture], "a", Limits())
    assert pair.psnr_db == pytest.approx(psnr_db(picture, noisy))
    broken = check_pictures([picture, picture], [picture, 0 * picture], "a", Limits())
    assert "black" in broken.fault


def test_lpips_counts_where_it_can_be_had(picture, noisy):
    check = check_pictures([picture], [noisy], "a", Limits(), lambda reference, picture: 0.9)
    assert (check.lpips, check.fault) == (0.9, "LPIPS above 0.6")


def test_a_picture_smaller_than_the_window_has_no_ssim(picture):
    small = picture[:8, :8]
    assert check_pictures([small], [small], "a", Limits()).ssim is None
    with pytest.raises(ValueError, match="11 points a side"):
        ssim(small, small)


def test_pictures_of_other_sizes_are_refused(picture):
    with pytest.raises(ValueError, match="same size and batch"):
        check_pictures([picture], [picture[:20]], "a", Limits())
    with pytest.raises(ValueError, match="same size and batch"):
        check_pictures([picture], [picture, picture], "a", Limits())
