"""A small host with Forge's signatures and order of calls, and our extension in it.

What is real here: torch, the measuring, the journal, the tables. ``fake_host`` stands for Forge's
modules, written for these tests after lllyasviel's f2.0.1 (dfdcbab, June 2025) as it was run in
November 2026; as branch ``neo`` it has the signatures of Forge Neo's files as they were read.
"""

from __future__ import annotations

import importlib
import sys
from itertools import pairwise
from pathlib import Path
from types import FunctionType, SimpleNamespace

import pytest

from wattbench.measure.protocol.journal import read

FAKE = Path(__file__).parent / "fake_host"
HOSTS = ("modules", "modules_forge", "backend", "gradio", "branch")
OURS = "wattbench.hosts.forge"

DEFAULTS = {
    "measure": True,
    "benchmark": False,
    "repeats": 2,
    "warmups": 1,
    "idle_s": 0,
    "max_warmup_s": 0,
    "cooldown_s": 0,
    "meter": "estimate",
    "attention": "forge",
    "strict": False,
    "max_error": 0.05,
    "timed": False,
    "memory_format": "as loaded",
    "weights": "as set",
}


def between_ticks(counter, phases):
    """The least and the most joules that phases may have taken: ticks inside them, and all that
    touch them."""
    least_j = most_j = 0.0
    spans = [(phase.start_s, phase.start_s + phase.duration_s) for phase in phases]
    for (from_s, before_j), (to_s, after_j) in pairwise(counter):
        shared_s = sum(max(0.0, min(to_s, end) - max(from_s, start)) for start, end in spans)
        most_j += (after_j - before_j) * (shared_s > 0)
        least_j += (after_j - before_j) * (shared_s >= (to_s - from_s) * (1 - 1e-9))
    return least_j - 1e-6, most_j + 1e-6


def purge():
    for name in list(sys.modules):
        if name.split(".")[0] in HOSTS or name == OURS or name.startswith(f"{OURS}."):
            del sys.modules[name]


class Forge:
    """The fake host with our script; ``others`` are classes of other extensions' scripts."""

    def __init__(self, output: Path, others=()):
        get = importlib.import_module
        self.processing = get("modules.processing")
        self.shared = get("modules.shared")
        self.sd_models = get("modules.sd_models")
        self.scripts = get("modules.scripts")
        paths = get("modules.paths_internal")
        paths.default_output_dir = paths.data_path = str(output)
        self.face = get(f"{OURS}.script")
        self.output = output
        own = type("WattBench", (self.face.WattBenchScript,), {})
        self.runner = self.scripts.ScriptRunner(own(), *(other() for other in others))
        self.before = self.attributes()

    def processing_of(self, settings=None, **asked):
        return self.processing.StableDiffusionProcessing(
            self.runner, {"WattBench": tuple({**DEFAULTS, **asked}.values())}, **(settings or {})
        )

    def generate(self, settings=None, **asked):
        """As Forge's API does: make it, and close it whatever happens."""
        p = self.processing_of(settings, **asked)
        try:
            return self.processing.process_images(p)
        finally:
            p.close()

    @property
    def runs(self):
        path = self.output / "wattbench" / "journal.jsonl"
        return read(path.read_bytes()).runs if path.exists() else ()

    @property
    def unet(self):
        return self.sd_models.model_data.sd_model.forge_objects.unet.model.diffusion_model

    @staticmethod
    def attributes():
        """Every function that a module or a class of the host holds."""
        found = {}
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] not in HOSTS:
                continue
            for key, value in list(vars(module).items()):
                if isinstance(value, FunctionType):
                    found[name, key] = value
                elif isinstance(value, type) and value.__module__ == name:
                    for own, function in vars(value).items():
                        if isinstance(function, FunctionType):
                            found[name, f"{key}.{own}"] = function
        return found

    def assert_untouched(self):
        """No hook is left anywhere, and no script has failed in silence."""
        assert self.attributes() == self.before
        assert self.runner.errors == []


@pytest.fixture
def make_forge(monkeypatch, tmp_path):
    """Call ``make_forge(branch, others)``, once."""
    purge()
    monkeypatch.syspath_prepend(FAKE)

    def make(branch="forge", others=()):
        importlib.import_module("branch").NAME = branch
        return Forge(tmp_path, others)

    yield make
    purge()


@pytest.fixture
def forge(make_forge):
    return make_forge()


@pytest.fixture(params=["forge", "neo"])
def any_forge(make_forge, request):
    return make_forge(request.param)


def script_of(forge_scripts=None, **methods):
    """A script of another extension; its methods get ``(self, p, ...)``."""

    def make():
        base = importlib.import_module("modules.scripts").Script
        return type("Other", (base,), {"title": lambda self: "Other", **methods})()

    return make


@pytest.fixture
def counted():
    """Count calls of a module's forward, by torch's own hooks: ``counted(module).calls``."""
    handles = []

    def count(module):
        seen = SimpleNamespace(calls=0, rows=0)

        def hook(_, inputs, __):
            seen.calls += 1
            seen.rows += len(inputs[0])

        handles.append(module.register_forward_hook(hook))
        return seen

    yield count
    for handle in handles:
        handle.remove()
