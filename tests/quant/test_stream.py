"""A converted file is whole or is not there; what is no safetensors file is refused by name."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from wattbench.quant import pipeline, stream
from wattbench.quant.files import PICKLE_STARTS, FileError, TensorFile, header_of

KILLED = """
import os, signal, sys
from pathlib import Path
from wattbench.quant.convert import Request, convert_file
from wattbench.quant.formats import find
def stop(done, total):
    os.kill(os.getpid(), signal.SIGKILL)
convert_file(Path(sys.argv[1]), Path(sys.argv[2]), Request(find("fp8")), stop)
"""


HELD = """
import sys
from pathlib import Path
from wattbench.quant.convert import Request, convert_file
from wattbench.quant.formats import find
convert_file(Path(sys.argv[1]), Path(sys.argv[2]), Request(find("fp8")))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(1024 * int(status["VmHWM"].split()[0]))
"""

PIECE_BYTES = 1000


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(pipeline, "PIECE_BYTES", PIECE_BYTES)
    monkeypatch.setattr(pipeline, "WRITE_BYTES", 300)
    monkeypatch.setattr(pipeline, "POOLED_BYTES", 100)


@pytest.fixture
def source(tmp_path):
    """Types of all widths, an empty tensor, a scalar, and one that takes several pieces."""
    random = torch.Generator().manual_seed(0)
    tensors = {
        "a": torch.randn(5, 3, generator=random),
        "b": torch.randn(7, generator=random).bfloat16(),
        "c": torch.arange(3, dtype=torch.uint8),
        "d": torch.zeros(0, 4),
        "e": torch.tensor(1.5, dtype=torch.float64),
        "f": torch.tensor([True, False, True]),
        "large": torch.randint(
            0, 256, (10 * PIECE_BYTES + 11,), dtype=torch.uint8, generator=random
        ),
    }
    path = tmp_path / "source.safetensors"
    save_file(tensors, path, {"title": "a model"})
    return path


def copy(source, target, progress=lambda done, total: None, metadata=None):
    with TensorFile(source) as file:
        changes = [pipeline.kept(entry) for entry in file.entries.values()]
        return stream.write_converted(file, changes, target, metadata or {}, progress)


def partials(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(stream.PARTIAL)]


@pytest.mark.parametrize("limit", [PIECE_BYTES, 2**20])
def test_copy_holds_the_same_tensors_and_tells_the_source(source, tmp_path, monkeypatch, limit):
    """Also where one piece must wait for another to make room."""
    for name in ("AHEAD_BYTES", "BEHIND_BYTES", "FREE_BYTES"):
        monkeypatch.setattr(pipeline, name, limit)
    target, seen = tmp_path / "copy.safetensors", []
    metadata = {"made of": stream.DIGEST_PLACE, "title": "a model"}
    digest = copy(source, target, lambda *done: seen.append(done), metadata)
    before, after = load_file(source), load_file(target)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
        assert tensor.dtype == after[name].dtype
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest()
    with safe_open(target, "pt") as file:
        assert file.metadata() == {"made of": digest, "title": "a model"}
    payload = sum(tensor.nbytes for tensor in before.values())
    assert seen[-1] == (payload, payload)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) == len(before) + 10
    assert partials(tmp_path) == []


def test_memory_that_is_used_again_mixes_nothing_up(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "AHEAD_BYTES", 5000)
    source, target = tmp_path / "source.safetensors", tmp_path / "half.safetensors"
    tensors = {f"w{i}": torch.full((100, 4), float(i)) for i in range(50)}
    save_file(tensors, source)
    with TensorFile(source) as file:
        changes = [
            pipeline.Change(
                entry,
                {entry.name: pipeline.Stored("F16", entry.shape, entry.nbytes // 2)},
                lambda tensor, name=entry.name: {name: tensor.half()},
            )
            for entry in file.entries.values()
        ]
        stream.write_converted(file, changes, target, {}, lambda done, total: None)
    made = load_file(target)
    assert {name: tensor.unique().tolist() for name, tensor in made.items()} == {
        name: [float(name[1:])] for name in tensors
    }


def test_every_tensor_begins_at_a_multiple_of_its_element(source, tmp_path):
    target = tmp_path / "copy.safetensors"
    copy(source, target)
    with TensorFile(target) as file:
        for name, entry in file.entries.items():
            assert entry.start % file.read(name).dtype.itemsize == 0, name


def test_rows_of_a_tensor_are_read_from_the_right_place(source):
    with TensorFile(source) as file:
        assert torch.equal(file.read("a"), load_file(source)["a"])
        part = file.read_bytes("c", 1, 2)
    assert part.tolist() == [1, 2]


def test_nothing_is_overwritten(source, tmp_path):
    target = tmp_path / "there.safetensors"
    target.write_text("mine")
    with pytest.raises(FileExistsError, match=r"there\.safetensors exists"):
        copy(source, target)
    assert target.read_text() == "mine"


def test_a_link_to_nowhere_is_left(source, tmp_path):
    target = tmp_path / "link.safetensors"
    target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match=r"link\.safetensors exists"):
        copy(source, target)
    assert target.is_symlink()


def test_a_folder_that_is_not_there_is_named(source, tmp_path):
    with pytest.raises(FileNotFoundError, match="none does not exist; make it first"):
        copy(source, tmp_path / "none" / "copy.safetensors")


def test_a_folder_is_no_source(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        TensorFile(tmp_path)


def test_a_file_that_appears_meanwhile_is_left(source, tmp_path):
    target = tmp_path / "late.safetensors"
    with pytest.raises(FileExistsError, match="another program"):
        copy(source, target, lambda done, total: target.write_text("theirs"))
    assert target.read_text() == "theirs"
    assert partials(tmp_path) == []


def test_a_stop_leaves_nothing(source, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(source, tmp_path / "stopped.safetensors", stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.safetensors"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_leaves_a_recognisable_partial_file_and_no_other(tmp_path):
    source, target = tmp_path / "source.safetensors", tmp_path / "killed.safetensors"
    save_file({f"blocks.{i}.w.weight": torch.ones(64, 64) for i in range(3)}, source)
    done = subprocess.run([sys.executable, "-c", KILLED, source, target], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert partials(tmp_path) == ["killed.safetensors.partial"]
    with pytest.raises(FileExistsError, match=r"killed\.safetensors\.partial exists.*remove"):
        copy(source, target)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_under_the_largest_tensor_and_a_gib(tmp_path):
    """Of a file that is larger by itself; it is sparse, and takes no room."""
    source = tmp_path / "source.safetensors"
    shape, nbytes = (8192, 5120), 2 * 8192 * 5120
    names = [f"blocks.{i}.w.weight" for i in range(16)]
    with source.open("wb") as file:
        header = header_of(dict.fromkeys(names, ("BF16", shape, nbytes)), {})
        file.write(header)
        file.truncate(len(header) + len(names) * nbytes)
    command = [sys.executable, "-c", HELD, source, tmp_path / "made.safetensors"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert int(done.stdout) < nbytes + 2**30 < source.stat().st_size


def test_no_room_is_said_before_a_byte_is_written(source, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"needs 0\.0 MB and .* has 0\.0 MB free"):
        copy(source, tmp_path / "new.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.safetensors"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_disk_that_fills_up_while_writing_fails_the_conversion(source, tmp_path):
    with TensorFile(source) as file, open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
        changes = [pipeline.kept(entry) for entry in file.entries.values()]
        starts = dict.fromkeys(file.entries, 0)
        with pytest.raises(OSError, match="No space left"):
            pipeline.convert_all(file, changes, full, starts, lambda done, total: None)


def test_a_source_that_shrinks_is_named(source, tmp_path):
    with TensorFile(source) as file:
        os.truncate(source, source.stat().st_size - 10)
        with pytest.raises(FileError, match="ends within"):
            for name in file.entries:
                file.read(name)


def test_a_conversion_that_makes_something_else_is_refused(source, tmp_path):
    with TensorFile(source) as file:
        changes = [pipeline.kept(entry) for entry in file.entries.values()]
        place = next(i for i, change in enumerate(changes) if change.source.name == "a")
        entry = changes[place].source
        changes[place] = pipeline.Change(
            entry, {"a": pipeline.Stored("F16", (5, 3), 30)}, lambda a: {"a": a}
        )
        with pytest.raises(FileError, match=r"a became .*F32.* and not .*F16"):
            stream.write_converted(
                file, changes, tmp_path / "new.safetensors", {}, lambda done, total: None
            )
    assert partials(tmp_path) == []


@pytest.mark.parametrize("zip_archive", [True, False])
def test_a_pickle_is_refused_whatever_its_name(tmp_path, zip_archive):
    path = tmp_path / "model.safetensors"
    torch.save(
        {"w": torch.zeros(3)}, path, _use_new_zipfile_serialization=zip_archive, pickle_protocol=2
    )
    with pytest.raises(FileError, match="is a pickle"):
        TensorFile(path)


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
def test_a_header_whose_length_begins_like_a_pickle_is_read(tmp_path, length):
    path = tmp_path / "model.safetensors"
    entry = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})
    path.write_bytes(length.to_bytes(8, "little") + entry.ljust(length).encode() + b"\x07")
    assert path.read_bytes().startswith(PICKLE_STARTS)
    with TensorFile(path) as file:
        assert file.read("w").tolist() == [7]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:5],
        lambda data: b"",
        lambda data: data + b"more",
        lambda data: data[:8] + b"{" + data[9:200] + b"\xff" + data[201:],
        lambda data: (2**40).to_bytes(8, "little") + data[8:],
        lambda data: b"<!doctype html><html><body>Not Found</body></html>" * 9,
    ],
    ids=["cut", "no header", "empty", "longer", "no JSON", "huge header", "web page"],
)
def test_a_damaged_file_is_refused(source, tmp_path, damage):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damage(source.read_bytes()))
    with pytest.raises(FileError, match=r"damaged\.safetensors is no whole safetensors file"):
        TensorFile(path)


def test_a_gguf_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(FileError, match="GGUF"):
        TensorFile(path)


def test_overlapping_tensors_are_refused(tmp_path):
    entry = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}
    text = json.dumps({"a": entry, "b": entry}).encode()
    path = tmp_path / "overlap.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(FileError, match="no whole safetensors file"):
        TensorFile(path)
