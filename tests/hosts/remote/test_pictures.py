"""Pictures of a batch are joined to their runs by what they show."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from wattbench.hosts.remote import pictures as module
from wattbench.hosts.remote.pictures import with_files
from wattbench.records import PictureCheck


@pytest.fixture
def save(tmp_path):
    """Save a picture of one shade; its file."""
    folder = tmp_path / "pictures"
    folder.mkdir()

    def write(name, shade, size=(8, 4)):
        Image.new("RGB", size, (shade, 0, 255)).save(folder / name)
        return folder / name

    return write


@pytest.fixture
def run_of(make_run):
    """A run whose pictures have these shades."""

    def make(run_id, *shades, job_id="job"):
        values = [np.full((4, 8, 3), (shade, 0, 255), np.uint8) for shade in shades]
        digest = hashlib.sha256(b"".join(array.tobytes() for array in values)).hexdigest()
        run = make_run(run_id, job_id=job_id, picture=PictureCheck("", sha256=digest))
        return replace(run, condition=replace(run.condition, batch_size=len(shades)))

    return make


def files_of(runs, pictures):
    return [run.picture_file for run in with_files(runs, {"job": pictures})]


def test_each_run_has_its_own_picture_whatever_else_was_saved(save, run_of):
    pictures = [save("a.png", 9), save("b.png", 1), save("c.png", 2)]
    runs = [run_of("one", 1), run_of("two", 2), run_of("three", 3)]
    assert files_of(runs, pictures) == ["pictures/b.png", "pictures/c.png", ""]


def test_of_several_pictures_the_first(save, run_of):
    pictures = [save(f"{shade}.png", shade) for shade in (7, 1, 2, 3, 4)]
    runs = [run_of("one", 1, 2), run_of("two", 3, 4), run_of("three", 2, 1)]
    assert files_of(runs, pictures) == ["pictures/1.png", "pictures/3.png", ""]


def test_equal_pictures_go_to_their_runs_in_order(save, run_of):
    pictures = [save("a.png", 1), save("b.png", 1)]
    runs = [run_of("one", 1), run_of("two", 1), run_of("three", 1)]
    assert files_of(runs, pictures) == ["pictures/a.png", "pictures/b.png", ""]


def test_pictures_of_another_prompt_are_not_taken(save, run_of):
    runs = [run_of("one", 1, job_id="another")]
    assert files_of(runs, [save("a.png", 1)]) == [""]


def test_what_is_no_picture_or_was_not_made_of_pictures_stays_blank(save, run_of, make_run):
    broken = save("a.png", 1)
    broken.write_bytes(b"no picture")
    runs = [run_of("one", 1), make_run("without", job_id="job")]
    assert files_of(runs, [broken, save("b.png", 1)]) == ["pictures/b.png", ""]


def test_without_its_package_nothing_is_compared(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert not module.can_read()
    assert "pip install pillow" in module.MISSING
