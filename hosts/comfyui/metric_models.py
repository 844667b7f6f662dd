"""Networks of picture metrics that the user has put into ComfyUI's folder of models."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...incoming import check_name
from ...quality import METRICS
from ...quality.base import Network

FOLDER = "wattbench_metrics"
"""Below ComfyUI's ``models``; a folder in it is a network."""

NONE = "none"


def choices() -> list[str]:
    """What can be chosen: no network, or a folder of files."""
    found = {path.name for place in _places() if place.is_dir() for path in place.iterdir()}
    return [NONE, *sorted(found)]


def networks(chosen: dict[str, str]) -> dict[str, Network]:
    """The networks of metrics by the folders that were chosen for them.

    Raises:
        ValueError: a folder is missing or does not hold what its metric needs.
    """
    loaders = {metric.name: metric.load for metric in METRICS}
    found = {}
    for name, folder in chosen.items():
        load = loaders[name]
        if folder != NONE and load is not None:
            found[name] = load(_place_of(folder))
    return found


def _places() -> list[Path]:
    return [
        *map(Path, folder_paths.folder_names_and_paths.get(FOLDER, ([],))[0]),
        Path(folder_paths.models_dir) / FOLDER,
    ]


def _place_of(folder: str) -> Path:
    name = check_name(folder)
    for place in _places():
        if (place / name).exists():
            return place / name
    raise ValueError(f"there is no {name} in {_places()[-1]}: put the network's files there")
