"""Pictures of candidates: the same, near enough, or another picture."""

import numpy as np
import pytest
from PIL import Image

from wattbench.study.pictures import SHARE, Gallery, PictureLimits, distance, load


@pytest.fixture
def save(tmp_path):
    def write(name, array):
        path = tmp_path / f"{name}.png"
        Image.fromarray((np.clip(array, 0, 1) * 255).round().astype(np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def seeds():
    """Two unrelated pictures."""
    chance = np.random.default_rng(0)
    return [chance.random((32, 32, 3)) for _ in range(2)]


@pytest.fixture
def gallery(save, seeds):
    gallery = Gallery()
    paths = {n: [save(f"base{n}", picture)] for n, picture in enumerate(seeds)}
    assert gallery.add_baseline(paths) == ""
    return gallery


def test_the_ceiling_is_the_distance_of_two_seeds(gallery, seeds):
    assert gallery.ceiling == pytest.approx(distance([seeds[0]], [seeds[1]]), rel=0.01)
    assert gallery.floor is None


def test_the_same_picture_has_gone_no_way(gallery, save, seeds):
    paths = {0: [save("same", seeds[0])]}
    assert gallery.fault(paths) == ""
    assert gallery.share(paths) == 0


@pytest.mark.parametrize(("share", "is_out"), [(SHARE * 0.95, False), (SHARE * 1.05, True)])
def test_a_picture_may_go_a_quarter_of_the_way(gallery, save, seeds, share, is_out):
    moved = seeds[0] + share * (seeds[1] - seeds[0])
    paths = {0: [save("moved", moved)]}
    assert bool(gallery.fault(paths)) == is_out
    assert gallery.share(paths) == pytest.approx(share, rel=0.02)


def test_a_baseline_that_is_never_the_same_allows_twice_its_own_distance(gallery, save, seeds):
    again = {0: [save("again", seeds[0] + 0.3 * (seeds[1] - seeds[0]))]}
    assert gallery.add_baseline(again) == ""
    assert gallery.floor == pytest.approx(0.3 * gallery.ceiling, rel=0.02)
    inside = {0: [save("inside", seeds[0] + 0.55 * (seeds[1] - seeds[0]))]}
    outside = {0: [save("outside", seeds[0] + 0.65 * (seeds[1] - seeds[0]))]}
    assert gallery.fault(inside) == ""
    assert "way to another seed" in gallery.fault(outside)


@pytest.mark.parametrize(("value", "word"), [(0.0, "black"), (0.5, "flat")])
def test_broken_pictures_are_out_without_a_reference(gallery, save, value, word):
    paths = {7: [save("broken", np.full((32, 32, 3), value))]}
    assert word in gallery.fault(paths)


def test_a_broken_baseline_is_said(save):
    assert "black" in Gallery().add_baseline({0: [save("black", np.zeros((32, 32, 3)))]})


def test_another_size_is_another_picture(gallery, save, seeds):
    assert "size" in gallery.fault({0: [save("small", seeds[0][:16])]})


def test_floors_that_a_user_sets(save, seeds):
    gallery = Gallery(PictureLimits(min_psnr_db=40.0, min_ssim=0.99))
    gallery.add_baseline({n: [save(f"b{n}", p)] for n, p in enumerate(seeds)})
    near = {0: [save("near", seeds[0] + 0.02)]}
    assert "PSNR" in gallery.fault(near)
    assert gallery.fault({0: [save("same", seeds[0])]}) == ""


@pytest.mark.parametrize(("limit", "word"), [(0.01, "LPIPS 0.0"), (0.03, "")])
def test_a_ceiling_for_lpips(save, seeds, limit, word):
    def apart(one, other):
        return float(np.abs(one - other).max())

    gallery = Gallery(PictureLimits(max_lpips=limit, lpips=apart))
    gallery.add_baseline({n: [save(f"b{n}", p)] for n, p in enumerate(seeds)})
    found = gallery.fault({0: [save("near", np.clip(seeds[0] + 0.02, 0, 1))]})
    assert found.startswith(word) if word else not found


def test_pictures_are_read_as_values_from_0_to_1(save):
    (picture,) = load([save("half", np.full((4, 4, 3), 0.5))])
    assert picture.shape == (4, 4, 3)
    assert picture.mean() == pytest.approx(0.5, abs=0.01)
