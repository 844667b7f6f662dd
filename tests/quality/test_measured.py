"""A run's qualities are the mean of its pictures; what cannot be had is a blank with its reason."""

from statistics import fmean

import numpy as np
import pytest

from wattbench.quality.base import Network
from wattbench.quality.colourfulness import colourfulness
from wattbench.quality.measured import as_8_bit, qualities


@pytest.fixture
def pictures(cat):
    return [cat[:80, :96] / 255, cat[80:160, :96] / 255]


def by_name(found):
    return {quality.name: quality for quality in found}


def test_without_anything_else_three_are_measured(pictures):
    found = by_name(qualities(pictures, {}))
    assert list(found) == ["sharpness", "colourfulness", "entropy"]
    assert found["colourfulness"].value == fmean(colourfulness(as_8_bit(p)) for p in pictures)
    assert [q.unit for q in found.values()] == ["", "", "bit"]
    assert all(q.note == q.model == "" for q in found.values())


def test_with_references_and_networks(pictures):
    distance = Network("net.safetensors sha256 abc", lambda reference, picture: 0.25)
    found = by_name(qualities(pictures, {"lpips": distance}, "", [p * 0.9 for p in pictures]))
    assert list(found) == ["sharpness", "colourfulness", "entropy", "psnr", "ssim", "lpips"]
    assert found["lpips"].value == 0.25
    assert found["lpips"].model == "net.safetensors sha256 abc"
    assert found["psnr"].unit == "dB"


def test_blanks_have_reasons(pictures):
    found = by_name(qualities(pictures, {}, "", pictures))
    assert (found["psnr"].value, found["ssim"].value) == (None, pytest.approx(1))
    assert found["psnr"].note == "infinite: the picture is equal to its reference"
    broken = [pictures[0], np.full_like(pictures[1], np.nan)]
    found = by_name(qualities(broken, {}, "", pictures))
    assert {q.value for q in found.values()} == {None}
    assert {q.note for q in found.values()} == {"the picture holds NaN or infinity"}
    small = [p[:10, :10] for p in pictures]
    found = by_name(qualities(small, {}, "", [1 - p for p in small]))
    assert found["ssim"].note.startswith("SSIM needs 11 points")
    assert found["psnr"].value > 0


def test_a_batch_of_another_size_is_refused(pictures):
    with pytest.raises(ValueError, match="2 pictures cannot be compared with 1"):
        qualities(pictures, {}, "", pictures[:1])


def test_pictures_are_rounded_as_comfyui_saves_them():
    values = np.array([-0.5, 0, 0.5, 0.9999, 1, 3]).reshape(1, 6, 1)
    assert as_8_bit(values).ravel().tolist() == [0, 0, 127, 254, 255, 255]
