"""Forge's door. It runs every file of an extension's ``scripts``, and nothing else of one.

Other extensions have packages called ``measure`` or ``report`` too, and their folders stay on the
path: so the pack is given a name of its own here, and imports within itself.
"""

import importlib
import sys
import types
from pathlib import Path

NAME = "wattbench_in_forge"

if NAME not in sys.modules:
    package = types.ModuleType(NAME)
    package.__path__ = [str(Path(__file__).resolve().parent.parent)]
    sys.modules[NAME] = package

face = importlib.import_module(f"{NAME}.hosts.forge.script")
face.register()
WattBenchScript = face.WattBenchScript
