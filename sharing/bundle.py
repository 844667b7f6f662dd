"""A bundle: runs and their pictures in one file, that can be checked.

It is a ZIP archive of ``bundle.json``, pictures, and perhaps ``bundle.json.sig``, a signature that
OpenSSH makes. ``bundle.json`` names the SHA-256 of each picture and is written in one way only, so
that its own SHA-256, the *fingerprint*, stands for all of it.

Version 1 of the format: ``{"format", "version", "pack", "pictures", "runs"}``; runs are those of
the journal's schema, which each of them names.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..incoming import IncomingError, read_file
from ..measure.protocol import codec
from ..records import SCHEMA_VERSION, Run
from ..report.folder import MAX_PICTURE_BYTES, place_of
from ..report.private import scrubber
from ..tables.files import write_bytes
from .shareable import shareable

FORMAT, VERSION = "wattbench bundle", 1
CONTENT, SIGNATURE, PICTURES = "bundle.json", "bundle.json.sig", "pictures/"
MAX_CONTENT_BYTES = 2**31
MAX_SIGNATURE_BYTES = 2**16
MAX_FILE_BYTES = 2**32
MOST_FILES = 10_000
LEAST_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every member: the same runs make the same file whenever it is written."""


class BundleError(ValueError):
    """A file is no bundle, or one that somebody or something has changed; the message says how."""


@dataclass(frozen=True)
class Bundle:
    """Runs as others may see them, and the pictures of some: PNG files by the runs' ids."""

    runs: tuple[Run, ...]
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    pack: str = ""
    signature: bytes = b""

    @classmethod
    def of(cls, runs: Iterable[Run], folder: Path | None = None, pack: str = "") -> Bundle:
        """Of these runs, with the pictures that they name in ``folder`` where there is one."""
        given = list(runs)
        pictures = {} if folder is None else dict(_pictures(given, folder))
        scrub = scrubber()
        return cls(tuple(shareable(run, scrub) for run in given), pictures, pack)

    @cached_property
    def content(self) -> bytes:
        """``bundle.json``: sorted keys, no spaces, UTF-8."""
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in self.pictures.items()}
        document = {
            "format": FORMAT,
            "version": VERSION,
            "pack": self.pack,
            "pictures": digests,
            "runs": [json.loads(codec.dumps(run)) for run in self.runs],
        }
        return canonical(document)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of :attr:`content`, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    def write(self, path: Path) -> Path:
        """Write the file; returns where it lies.

        Raises:
            OSError: it cannot be written.
        """
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, CONTENT, self.content)
            if self.signature:
                _add(archive, SIGNATURE, self.signature)
            for name, data in sorted(self.pictures.items()):
                _add(archive, f"{PICTURES}{name}.png", data)
        return write_bytes(buffer.getvalue(), path)


def canonical(document: Any) -> bytes:
    """JSON that has one form only."""
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def read_bundle(path: Path) -> Bundle:
    """A bundle whose content and pictures are what its file says they are.

    Raises:
        BundleError: it is none, of a later version, or was changed.
    """
    try:
        data = read_file(path, MAX_FILE_BYTES)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _members(archive)
            if CONTENT not in members:
                raise BundleError(f"{path.name} is no bundle: there is no {CONTENT} in it")
            content = members.pop(CONTENT)
    except (IncomingError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{path.name} is no bundle: {error}") from error
    signature = members.pop(SIGNATURE, b"")
    pictures = {name[len(PICTURES) : -len(".png")]: data for name, data in members.items()}
    document = _document(content, path.name)
    bundle = Bundle(_runs(document["runs"], path.name), pictures, str(document["pack"]), signature)
    if bundle.content != content:
        raise BundleError(
            f"{path.name} was changed after it was made: {_difference(document, bundle)}"
        )
    return bundle


def _document(content: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name}: {CONTENT} is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BundleError(f"{name} is no bundle: {CONTENT} does not say so")
    if document.get("version") != VERSION:
        raise BundleError(
            f"{name} has version {document.get('version')} of the format, this WattBench reads "
            f"{VERSION}: use a later WattBench"
        )
    if set(document) != {"format", "version", "pack", "pictures", "runs"}:
        raise BundleError(f"{name}: {CONTENT} has other fields than a bundle")
    if not isinstance(document["runs"], list) or not isinstance(document["pictures"], dict):
        raise BundleError(f"{name}: {CONTENT} has no list of runs")
    return document


def _runs(entries: Sequence[Any], name: str) -> tuple[Run, ...]:
    runs: dict[str, Run] = {}
    scrub = scrubber(with_own_names=False)
    for number, entry in enumerate(entries, 1):
        version = entry.pop("schema_version", None) if isinstance(entry, dict) else None
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"{name}: run {number} has schema version {version}, this WattBench reads "
                f"{SCHEMA_VERSION}: make the bundle anew, or use the WattBench that made it"
            )
        try:
            run, unknown = codec.run_of(entry)
        except ValueError as error:
            raise BundleError(f"{name}: run {number} is no run: {error}") from error
        if unknown:
            raise BundleError(f"{name}: run {number} has fields that no bundle has: {unknown[0]}")
        if run != shareable(run, scrub):
            raise BundleError(f"{name}: run {number} tells of a machine or a person")
        runs[run.run_id] = run
    if len(runs) < len(entries):
        raise BundleError(f"{name} holds a run twice")
    return tuple(runs.values())


def _difference(document: dict[str, Any], bundle: Bundle) -> str:
    told = document["pictures"]
    for name in sorted(told.keys() | bundle.pictures.keys()):
        if name not in bundle.pictures:
            return f"the picture {name}.png is missing"
        if name not in told:
            return f"the picture {name}.png is not named in {CONTENT}"
        if hashlib.sha256(bundle.pictures[name]).hexdigest() != told[name]:
            return f"the picture {name}.png is another one"
    return f"{CONTENT} is not written as a bundle's is"


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """What a bundle may hold, by its name; sizes are looked at before anything is unpacked."""
    found: dict[str, bytes] = {}
    infos = archive.infolist()
    if len(infos) > MOST_FILES:
        raise BundleError(f"no bundle: it holds {len(infos)} files, at most {MOST_FILES} may be")
    for info in infos:
        limit = _limit(info.filename)
        if limit is None or info.filename in found:
            raise BundleError(f"no bundle: it holds {info.filename!r}")
        with archive.open(info) as member:
            data = member.read(limit + 1)
        if len(data) > limit:
            raise BundleError(f"no bundle: {info.filename} has more than {limit} bytes")
        found[info.filename] = data
    return found


def _limit(name: str) -> int | None:
    """How many bytes a member may have; ``None`` where a bundle has no such member."""
    if name in (CONTENT, SIGNATURE):
        return MAX_CONTENT_BYTES if name == CONTENT else MAX_SIGNATURE_BYTES
    inside = name.removeprefix(PICTURES).removesuffix(".png")
    is_picture = name == f"{PICTURES}{inside}.png" and inside.isalnum()
    return MAX_PICTURE_BYTES if is_picture else None


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, LEAST_TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)


def _pictures(runs: Sequence[Run], folder: Path) -> Iterable[tuple[str, bytes]]:
    """Without what the files say of themselves: ComfyUI writes the whole workflow into them."""
    for run in runs:
        path = place_of(run.picture_file, folder) if run.picture_file else None
        if path is None:
            continue
        try:
            from PIL import Image
        except ImportError as error:
            raise UsageError(
                f"{path} cannot be bundled without pillow: pip install pillow"
            ) from error
        buffer = io.BytesIO()
        try:
            with Image.open(io.BytesIO(read_file(path, MAX_PICTURE_BYTES))) as image:
                image.convert("RGB").save(buffer, "PNG")
        except (IncomingError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
        yield run.run_id, buffer.getvalue()
