"""Pages that hold a user's own runs beside what was published: :data:`PAGES`, one file each."""

from __future__ import annotations

from .edge_nodes import EDGE_NODES
from .energy_law import ENERGY_LAW
from .page import StudyPage
from .quantization import QUANTIZATION

PAGES: dict[str, StudyPage] = {page.name: page for page in (EDGE_NODES, QUANTIZATION, ENERGY_LAW)}
"""By the name that the command takes; each has a plan of that name, ``-`` written ``_``."""
