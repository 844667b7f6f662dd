"""The files that quantized models are loaded from and saved to, as ComfyUI's folders name them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import folder_paths
import safetensors.torch
from safetensors import SafetensorError

from ....measure.recording.environment import pack_version
from ....quant.gguf_files import SUFFIX as GGUF
from ....quant.inventory import METADATA_KEY, facts_of, lasting, open_weights
from ....quant.stream import PARTIAL, check_room, publish
from ..new_files import file_name

MODEL_FOLDERS = ("diffusion_models", "checkpoints")
TEXT_ENCODER_FOLDERS = ("text_encoders",)
"""ComfyUI's kinds of folders."""

SAFETENSORS = (".safetensors", ".sft")

NO_FILE = "none"


def list_files(kinds: Sequence[str], suffixes: tuple[str, ...]) -> list[str]:
    """Files as ``kind/name``; GGUF files too, which ComfyUI's own lists leave out."""
    found = []
    for kind in kinds:
        names = set(folder_paths.get_filename_list(kind))
        if GGUF in suffixes:
            for folder in folder_paths.get_folder_paths(kind):
                names.update(folder_paths.recursive_search(folder, [".git"])[0])
        found += [f"{kind}/{name}" for name in sorted(names) if name.lower().endswith(suffixes)]
    return found


def model_files() -> list[str]:
    return list_files(MODEL_FOLDERS, (*SAFETENSORS, GGUF))


def text_encoder_files() -> list[str]:
    return list_files(TEXT_ENCODER_FOLDERS, (*SAFETENSORS, GGUF))


def path_of(choice: str) -> str:
    """The path of a file that :func:`list_files` names.

    A name may go through symbolic links, as the list does, but not up and out of its folder.

    Raises:
        FileNotFoundError: it is not there, or is no name of a list.
    """
    kind, _, name = choice.partition("/")
    is_within = not PurePath(name).is_absolute() and os.pardir not in PurePath(name).parts
    if is_within and kind in (*MODEL_FOLDERS, *TEXT_ENCODER_FOLDERS):
        for folder in folder_paths.get_folder_paths(kind):
            path = Path(folder, name)
            if path.is_file():
                return str(path)
    raise FileNotFoundError(f"{choice!r} names no file of the list; press R to read it anew")


def new_model_path(name: str) -> Path:
    """Where :func:`save_model` puts a file called ``name``: in the folder ``diffusion_models``.

    ComfyUI lists several folders of that kind, and first its old one, ``unet``.

    Raises:
        ValueError: ``name`` names a folder.
        FileExistsError: there is such a file in one of them.
    """
    folders = [Path(folder) for folder in folder_paths.get_folder_paths(MODEL_FOLDERS[0])]
    full = file_name(name, SAFETENSORS[0])
    for path in (folder / full for folder in folders):
        if path.exists():
            raise FileExistsError(
                f"{path} exists, and no file is overwritten. Choose another name; or leave the "
                "name empty and choose this file, if it is the one that you made before."
            )
    return next((f for f in folders if f.name == MODEL_FOLDERS[0]), folders[0]) / full


def save_model(model: Any, path: Path, weight_format: str, source: Path) -> None:
    """Keep the weights of a MODEL as a file, which has its name only when it is whole.

    Of ``source``, of which the model was loaded, go along the metadata and the tensors outside of
    the diffusion model by which ComfyUI builds one: how it predicts, its noise levels, its latent.

    Raises:
        FileExistsError: there is such a file by now.
        OSError: there is no room, or the folder cannot be written.
    """
    tensors = {
        key: tensor.detach().to("cpu").contiguous()
        for key, tensor in model.model.diffusion_model.state_dict().items()
    }
    made = {"format": weight_format, "version": pack_version()}
    with open_weights(source) as file:
        metadata = {**lasting(file.metadata), METADATA_KEY: json.dumps(made)}
        facts = {name: file.read(name) for name in facts_of(file.entries) if name not in tensors}
        tensors.update(facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    check_room(path, sum(tensor.nbytes for tensor in tensors.values()))
    part = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        safetensors.torch.save_file(tensors, part, metadata=metadata)
        publish(part, path)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}. Nothing was left of it.") from error
    finally:
        part.unlink(missing_ok=True)
