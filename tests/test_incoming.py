"""Names and paths that come in, and files that are none."""

import os
import threading

import pytest

from wattbench.incoming import (
    MAX_NAME_BYTES,
    IncomingError,
    below,
    check_file,
    check_name,
    check_path,
    read_file,
    read_text,
    resolve,
)

NOT_PATHS = ["", "a/CON/b", "a/" + "x" * 300, "a/" * 2100]
BAD_EVERYWHERE = [
    "a\x00b",
    "a\nb",
    "\x1b[2J",
    "a\ud800b",
    "x" * (MAX_NAME_BYTES + 1),
    "é" * 128,
    "CON",
    "con.csv",
    "Aux .txt",
    "LPT1",
    "COM9.json",
    "NUL",
]


@pytest.mark.parametrize(
    "name", [*BAD_EVERYWHERE, "", " ", ".", "..", "a/b", "a\\b", "a.", "a ", "a:b"]
)
def test_names_that_are_refused(name):
    with pytest.raises(IncomingError) as caught:
        check_name(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "name",
    ["a", "a b.csv", "é" * 127, "x" * MAX_NAME_BYTES, "console", "COM", "com10", ".hidden", "日本"],
)
def test_names_that_are_taken(name):
    assert check_name(name) == name


UNC = [
    "//server/share/x",
    "\\\\server\\share\\x",
    "\\\\.\\PhysicalDrive0",
    "\\\\?\\C:\\x",
    "/\\server/x",
]


@pytest.mark.parametrize("path", [*BAD_EVERYWHERE, *UNC, *NOT_PATHS])
def test_paths_that_are_refused(path):
    with pytest.raises(IncomingError):
        check_path(path)


@pytest.mark.parametrize("path", ["a/b.csv", "/tmp/a", "C:\\a\\b", "../a", "C:trace:1.csv"])
def test_paths_that_are_taken(path):
    assert check_path(path) == path


def test_a_file_is_found_in_the_folders_in_their_order(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (second / "a.json").touch()
    assert resolve("a.json", (first, second)) == second / "a.json"
    (first / "a.json").touch()
    assert resolve("a.json", (first, second)) == first / "a.json"
    assert resolve(str(second / "a.json"), (first, second)) == second / "a.json"
    assert resolve("none.json", (first, second)) == first / "none.json"


@pytest.mark.parametrize(
    "path",
    ["../secret", "sub/../../secret", "/etc/passwd", "/dev/zero", ".", "link/secret", "sub/.."],
)
def test_files_elsewhere_are_refused(tmp_path, path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("hunter2", "utf-8")
    (folder / "link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(IncomingError, match="is not a file in") as caught:
        resolve(path, (folder,))
    assert "hunter2" not in str(caught.value)


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(IncomingError, match="larger than 4 bytes"):
        read_file(path, 4)
    with pytest.raises(IncomingError, match="cannot be read: No such file"):
        read_file(tmp_path / "b", 4)


def test_text_is_utf_8(tmp_path):
    path = tmp_path / "a"
    path.write_bytes("\ufeffé".encode())
    assert read_text(path, 10) == "é"
    path.write_bytes(b"hunter2\xff")
    with pytest.raises(IncomingError, match="no text in UTF-8") as caught:
        read_text(path, 10)
    assert "hunter2" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="POSIX devices")
@pytest.mark.parametrize("kind", ["/dev/zero", "/dev/full", "pipe", "folder", "link"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    path = {"pipe": tmp_path / "pipe", "folder": tmp_path, "link": tmp_path / "link"}.get(kind)
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "link":
        path.symlink_to("/dev/zero")
    path = path or tmp_path.__class__(kind)
    answers = []

    def ask():
        for check in (check_file, read_file):
            try:
                check(path, 1000)
            except IncomingError as error:
                answers.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(60)
    assert len(answers) == 2
    assert all("not a file" in answer for answer in answers)


@pytest.mark.parametrize(
    "path",
    ["a.csv:hidden", "a:b", "nul:", "dir./a", "dir /a", "a.", "a ", "..\\a", "CON.d/a", "a\u202eb"],
)
def test_what_means_another_file_on_another_system_is_refused_below_a_folder(tmp_path, path):
    for name in (path, str(tmp_path / path)):
        with pytest.raises(IncomingError):
            below(name, tmp_path)
        with pytest.raises(IncomingError):
            resolve(name, (tmp_path,))


def test_only_what_lies_below_is_looked_at(tmp_path):
    root = tmp_path / "results 12:30."
    assert below("sub/../a.csv", root) == root / "a.csv"
    assert below(str(root / "a.csv"), root) == root / "a.csv"
    assert below(".", root) == root
    assert below("../a.csv", root) is None


@pytest.mark.parametrize("letter", ["\x85", "\u2028", "\u2029", "\u202e", "\u2066"])
def test_a_name_looks_like_what_it_is(letter):
    for check in (check_name, check_path):
        with pytest.raises(IncomingError, match="control characters"):
            check(f"a{letter}b")
    assert check_name("Bild 9.41\u202fam \u200d é") == "Bild 9.41\u202fam \u200d é"
