"""Another file of the same name is another condition, a copy of it is not."""

import shutil
from types import SimpleNamespace

import pytest

SIZE_BYTES = 3 * 2**20


@pytest.fixture
def marks(comfyui):
    """The mark of what was loaded from files."""
    from wattbench.hosts.comfyui.loaded_files import mark_of

    def of(*paths):
        source = str(paths[0]) if len(paths) == 1 else [str(path) for path in paths]
        return mark_of(SimpleNamespace(cached_patcher_init=(None, (source, {}))))

    return of


def write(path, number=0, size_bytes=SIZE_BYTES):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes([number]) * size_bytes)
    return path


def test_files_of_one_name_are_told_apart_and_copies_are_not(marks, tmp_path):
    one, other = write(tmp_path / "a" / "x.safetensors"), write(tmp_path / "b" / "x.safetensors", 1)
    copy = shutil.copy(one, tmp_path / "y.safetensors")
    assert len(marks(one)) == 8
    assert marks(one) == marks(copy) != marks(other)
    assert marks(one, other) == f"{marks(one)} {marks(other)}"
    assert marks(write(tmp_path / "a" / "longer", size_bytes=SIZE_BYTES + 1)) != marks(one)
    assert marks(write(tmp_path / "a" / "empty", size_bytes=0)) != ""


@pytest.mark.parametrize("place", [0, SIZE_BYTES - 1])
def test_a_file_that_was_changed_has_another_mark(marks, tmp_path, place):
    path = write(tmp_path / "x.safetensors")
    before = marks(path)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"!")
    assert marks(path) != before


def test_what_is_not_known_has_none(marks, tmp_path, comfyui):
    from wattbench.hosts.comfyui.loaded_files import mark_of

    assert marks(tmp_path / "gone") == ""
    for loader in (None, (None, ()), (None, ({"a": 1},))):
        assert mark_of(SimpleNamespace(cached_patcher_init=loader)) == ""


def test_the_mark_is_in_the_condition(make_run):
    """Of a VAE and a text encoder behind their names."""
    from dataclasses import replace

    condition = make_run("a").condition
    marked = [replace(condition, weights=f"file {mark}") for mark in ("1a2b3c4d", "1a2b3c4e")]
    assert len({c.label for c in (condition, *marked)}) == 3
    assert len({c.condition_id for c in (condition, *marked)}) == 3
