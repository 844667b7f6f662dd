"""Who a MODEL is in reports: a small record attached to its ModelPatcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ATTACHMENT_KEY = "wattbench"
"""The key of ``ModelPatcher.set_attachments``; attachments survive ``clone()``."""

OPTIMIZATIONS_KEY = "wattbench_optimizations"


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


def attach_optimization(patcher: Any, kind: str, name: str) -> None:
    """Let ``name`` be part of every condition that ``patcher`` or a clone of it is measured under.

    An optimization of the same ``kind`` is replaced.
    """
    others = {k: v for k, v in _optimizations(patcher).items() if k != kind}
    patcher.set_attachments(OPTIMIZATIONS_KEY, {**others, kind: name})


def optimizations_of(patcher: Any) -> tuple[str, ...]:
    """What changes how a model computes, besides attention and weight format, in order of kinds."""
    return tuple(name for _, name in sorted(_optimizations(patcher).items()))


def _optimizations(patcher: Any) -> dict[str, str]:
    attached = patcher.get_attachment(OPTIMIZATIONS_KEY)
    return attached if attached is not None else {}
