"""What a prompt may name: files in ComfyUI's own folders, and nothing else of the machine.

A prompt can come from anybody's workflow, so its paths are not those of the user of the machine.
"""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...incoming import check_file, resolve
from ...measure.meters import split_meters
from ...measure.meters.replay import MAX_TRACE_BYTES
from .host import HOST

REPLAY = "replay"


def folders() -> tuple[Path, ...]:
    """Where a prompt's files may lie; a relative name is looked for in this order."""
    output = HOST.output_folder()
    return output / "wattbench", output, Path(folder_paths.get_input_directory())


def file_of(name: str, limit_bytes: int) -> Path:
    """A regular file of ComfyUI's output or input folder that a prompt names.

    Raises:
        IncomingError: it lies elsewhere, is not there, is no regular file, or is too large.
    """
    return check_file(resolve(name, folders()), limit_bytes)


def meter_of(meter: str) -> str:
    """A meter that a prompt names, with the whole path of a recording.

    Outside of a prompt, where a script calls a node, any recording may be named.

    Raises:
        IncomingError: the recording is none that :func:`file_of` gives.
    """
    return checked_meter(meter) if HOST.job_id() else meter


def checked_meter(meter: str) -> str:
    """As :func:`meter_of`, for a prompt that is about to be queued."""

    def checked(part: str) -> str:
        key, colon, name = part.partition(":")
        if key != REPLAY or not colon:
            return part
        return f"{REPLAY}:{file_of(name, MAX_TRACE_BYTES)}"

    return "+".join(map(checked, split_meters(meter)))
