"""A rig without servers: prompts that cost what a cell's levels make of it, on its own clock."""

import contextlib
import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import ClassVar

from wattbench.errors import CommandError
from wattbench.hosts.remote.definitions import Definition, Input
from wattbench.records import EnergyReading, Phase
from wattbench.study.measured import Prompt
from wattbench.study.rig import Wired

GRAPH = {
    "1": {"class_type": "Loader", "inputs": {}},
    "2": {"class_type": "Sampler", "inputs": {"model": ["1", 0], "seed": 5, "steps": 20}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
}


def socket(name, kind):
    return Input(name, kind, None, False, True)


def widget(name, default):
    return Input(name, "COMBO", default, True, True)


DEFINITIONS = {
    "Loader": Definition("Loader", (), ("MODEL", "VAE")),
    "Sampler": Definition("Sampler", (socket("model", "MODEL"),), ("IMAGE",)),
    "SaveImage": Definition("SaveImage", (socket("images", "IMAGE"),), (), (), True),
    "WattBenchAttentionBackend": Definition(
        "WattBenchAttentionBackend",
        (socket("model", "MODEL"), widget("backend", "auto")),
        ("MODEL",),
    ),
    "WattBenchQuantizeModel": Definition(
        "WattBenchQuantizeModel",
        (socket("model", "MODEL"), widget("weight_format", "fp8")),
        ("MODEL",),
    ),
    "WattBenchProbeModel": Definition(
        "WattBenchProbeModel", (socket("model", "MODEL"),), ("MODEL", "PROBE")
    ),
}


def offer(name, reason=""):
    return {"name": name, "available": not reason, "reason": reason, "remedy": ""}


BEGAN = datetime(2026, 11, 1, tzinfo=timezone.utc)


@dataclass
class MadeRig(Wired):
    """Opens itself. ``planned`` is asked before each prompt, with the levels in its graph.

    Without ``is_watched`` the graph measures itself; without ``is_whole`` its probes see denoising
    alone.
    """

    make_run: object
    factors: dict = field(default_factory=dict)
    planned: object = lambda levels: None
    noise: float = 0.0
    is_fresh: ClassVar[bool] = True
    seconds: float = 0.0
    opened: list = field(default_factory=list)
    definitions: dict = field(default_factory=lambda: DEFINITIONS)
    machine: dict = field(default_factory=lambda: {"torch": "2.11.0", "power_limit_w": None})
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    made: int = 0
    will_start: object = lambda launch: True
    is_watched: bool = True
    is_whole: bool = True

    @contextlib.contextmanager
    def open(self, launch, name):
        self.opened.append((tuple(launch), name))
        self.seconds += 10
        if not self.will_start(launch):
            raise CommandError("ComfyUI ended while starting (code -9)")
        yield self

    def levers(self):
        listed = [offer(n) for n in ("sdpa", "split", "sage")]
        return {"attention": [*listed, offer("sage_3", "needs a Blackwell card")], "launch": []}

    def environment(self):
        return dict(self.machine)

    def api_graph_of(self, file):
        if "broken" in file.stem:
            raise CommandError(f"{file.name} cannot be run: no such node")
        return GRAPH

    def clock(self):
        return self.seconds

    def measure(self, instrumented, name):
        nodes = instrumented.graph.values()
        sampler = next(node["inputs"] for node in nodes if node["class_type"] == "Sampler")
        backends = [node["inputs"]["backend"] for node in nodes if "backend" in node["inputs"]]
        levels = {"attention": (backends or ["as_is"])[0], "steps": sampler["steps"]}
        levels["launch"] = self.opened[-1][0]
        found = self.planned(levels)
        if isinstance(found, BaseException):
            raise found
        if found is not None:
            return found
        self.made += 1
        time_s = 0.1 * sampler["steps"] * self.factors.get(levels["attention"], 1.0)
        time_s *= 1 + self.chance.gauss(0, self.noise)
        self.seconds += time_s
        run = self.make_run(
            run_id=f"{name}_{self.made}",
            phases=phases(time_s),
            seed=sampler["seed"],
            started_at=(BEGAN + timedelta(seconds=self.seconds)).isoformat(),
        )
        condition = replace(
            run.condition, attention=levels["attention"], steps=sampler["steps"], batch_size=1
        )
        energy = EnergyReading(100 * time_s, time_s, "nvml", "gpu", "counter", None, 20)
        process_id = f"process {len(self.opened)}"
        run = replace(run, condition=condition, energy=energy, process_id=process_id)
        if not self.is_whole:
            run = replace(run, phases=run.phases[1:2], energy=None)
        if not self.is_watched:
            return Prompt(runs=(run,))
        return Prompt(time_s, 100 * time_s, "counter", 10**9, "", (run,))


def phases(time_s):
    return (
        Phase("text_encode", 0.0, 0.1 * time_s),
        Phase("denoise", 0.1 * time_s, 0.8 * time_s, step_ends_s=(0.5 * time_s, 0.8 * time_s)),
        Phase("decode", 0.9 * time_s, 0.1 * time_s),
    )
