"""Who a MODEL is in reports: a small record attached to its ModelPatcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ATTACHMENT_KEY = "wattbench"
"""The key of ``ModelPatcher.set_attachments``; attachments survive ``clone()``."""


@dataclass(frozen=True)
class ModelIdentity:
    """What a report says about a model.

    ``architecture`` is a name of the pack's own (``sdxl``), ``model`` what the user calls it (a
    file name, or ``synthetic sdxl tiny``), ``weights`` where its weights come from (``synthetic``:
    random numbers, so that its pictures mean nothing and its costs do).
    """

    architecture: str
    model: str
    weights: str


def attach_identity(patcher: Any, identity: ModelIdentity) -> None:
    """Attach ``identity`` to a ModelPatcher; every clone made later carries it."""
    patcher.set_attachments(ATTACHMENT_KEY, identity)


def identity_of(patcher: Any) -> ModelIdentity | None:
    """The identity attached to a ModelPatcher, or ``None`` where nobody attached one."""
    identity = patcher.get_attachment(ATTACHMENT_KEY)
    return identity if isinstance(identity, ModelIdentity) else None
