"""Tuning on a made-up rig: what is measured, what is out, what is written."""

import contextlib
import json
import math
import random
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wattbench.errors import CommandError
from wattbench.records import KernelCalls
from wattbench.study.levels import Levels
from wattbench.study.measured import Prompt
from wattbench.study.outcome import candidates_of, sentence, write_outcome
from wattbench.study.pictures import Gallery
from wattbench.study.rig import Wired
from wattbench.study.search import BASELINE, Lever, Rule, Search, Stage
from wattbench.study.tune import Tuning

from .made_rig import DEFINITIONS, GRAPH

FACTORS = {"auto": 0.8, "sdpa": 1.0, "sage": 0.5, "fp8": 0.6, "--fast": 0.9}


@dataclass
class Rig(Wired):
    """Prompts that cost what the levers in their graph make of it, on a clock of its own."""

    folder: object
    run: object
    factors: dict = field(default_factory=lambda: dict(FACTORS))
    noise: set = field(default_factory=set)
    falls_back: set = field(default_factory=set)
    silent: set = field(default_factory=set)
    fails: set = field(default_factory=set)
    seconds: float = 0.0
    opened: list = field(default_factory=list)
    definitions: dict = field(default_factory=lambda: DEFINITIONS)
    is_fresh: ClassVar[bool] = True
    launch: tuple = ()
    made: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(3))

    @contextlib.contextmanager
    def open(self, launch, name):
        self.opened.append(tuple(launch))
        self.launch = tuple(launch)
        self.seconds += 20
        yield self

    def clock(self):
        return self.seconds

    def measure(self, instrumented, name):
        graph = instrumented.graph
        levels = [*self.launch]
        calls = []
        for node in graph.values():
            for setting, operation in (("backend", "attention"), ("weight_format", "linear")):
                if setting in node["inputs"]:
                    level = node["inputs"][setting]
                    levels.append(level)
                    fell = level in self.falls_back
                    if level not in self.silent:
                        reason = "a mask" if fell else ""
                        ran = "sdpa" if fell else level
                        calls.append(KernelCalls(operation, level, ran, 10, None, reason))
        if self.fails & set(levels):
            return Prompt(error="out of memory")
        time_s = 2.0 * math.prod(self.factors.get(level, 1.0) for level in levels)
        time_s *= math.exp(self.chance.gauss(0, 0.003))
        self.seconds += time_s
        seed = next(n["inputs"]["seed"] for n in graph.values() if n["class_type"] == "Sampler")
        picture = np.random.default_rng(seed).random((16, 16, 3))
        if self.noise & set(levels):
            picture = np.random.default_rng(seed + 1000).random((16, 16, 3))
        self.made += 1
        path = self.folder / f"{self.made}.png"
        Image.fromarray((picture * 255).astype(np.uint8)).save(path)
        run = self.run(run_id=str(self.made), kernel_calls=tuple(calls))
        return Prompt(time_s, 100 * time_s, "counter", 10**9, "", (run,), (path,))


LEVERS = (
    Lever("launch", ("--fast",)),
    Lever("weights", ("fp8",)),
    Lever("attention", ("sdpa", "auto", "sage")),
)


@pytest.fixture
def tune(tmp_path, make_run):
    def run(budget_s=1e9, repeats=2, levers=LEVERS, objective="s_per_img", needs=None, **rig):
        rig = Rig(tmp_path, make_run, **rig)
        search = Search(levers, Rule(), 0)
        tuning = Tuning(
            GRAPH,
            rig,
            search,
            objective,
            repeats,
            budget_s,
            Gallery(),
            needs or {},
            clock=rig.clock,
        )
        return tuning, tuning.run()

    return run


def test_the_best_combination_is_found_and_written(tune, tmp_path):
    tuning, verdict = tune()
    assert dict(verdict.winner) == {"launch": "--fast", "weights": "fp8", "attention": "sage"}
    assert verdict.ratio.value == pytest.approx(0.9 * 0.6 * 0.5, rel=0.02)
    text = write_outcome(tuning, Levels(LEVERS, ()), tmp_path / "out")
    assert "start ComfyUI with --fast" in text
    assert "0.270" in text
    tuned = json.loads((tmp_path / "out" / "tuned.json").read_text("utf-8"))
    classes = [node["class_type"] for node in tuned.values()]
    assert sorted(classes) == sorted(
        ["Loader", "Sampler", "SaveImage", "WattBenchAttentionBackend", "WattBenchQuantizeModel"]
    )
    assert tuned["2"]["inputs"]["seed"] == 5
    table = pd.read_csv(tmp_path / "out" / "candidates.csv")
    assert table["candidate"][0] == "as it is"
    assert table["ratio"][1] == pytest.approx(verdict.ratio.value)
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert len(runs) == sum(len(visit.prompts) for visit in tuning.visits)
    assert runs["study"].nunique() == 1
    blocks = {(visit.stage, visit.block) for visit in tuning.visits}
    assert set(runs["visit"]) == set(range(1, len(blocks) + 1))
    assert runs["cell"][0] == "as it is"
    assert "0.270" in (tmp_path / "out" / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("planted", "word"),
    [
        ({"noise": {"sage"}}, "another seed"),
        ({"falls_back": {"sage"}}, "fell back: a mask"),
        ({"silent": {"sage"}}, "never consulted"),
        ({"fails": {"sage"}}, "out of memory"),
    ],
)
def test_what_does_not_do_what_was_asked_never_wins(tune, planted, word):
    tuning, verdict = tune(**planted)
    assert dict(verdict.winner)["attention"] == "auto"
    assert word in tuning.search.faults[(("attention", "sage"),)]
    (row,) = [one for one in candidates_of(tuning) if one.name == "attention=sage"]
    assert word in row.fault


def test_a_block_whose_baseline_failed_is_told_beside_the_others(tune):
    tuning, verdict = tune()
    taken = tuning.search.block_count(Stage.FINALS)
    assert f"over {taken} blocks" in sentence(verdict, tuning)
    tuning.search._results[Stage.FINALS][0].pop(BASELINE)
    said = sentence(tuning.search.verdict(), tuning)
    assert f"over {taken - 1} of {taken} blocks" in said


def test_where_nothing_helps_nothing_is_written(tune, tmp_path):
    tuning, verdict = tune(factors={})
    assert verdict.winner == BASELINE
    text = write_outcome(tuning, Levels(LEVERS, ()), tmp_path / "out")
    assert text.startswith("Keep what you have, because")
    assert not (tmp_path / "out" / "tuned.json").exists()


def test_candidates_with_the_same_launch_options_share_a_server(tune):
    tuning, _ = tune()
    blocks = {(visit.stage, visit.block) for visit in tuning.visits}
    assert len(tuning.rig.opened) <= 2 * len(blocks)
    assert {(), ("--fast",)} == set(tuning.rig.opened)


def test_a_level_brings_the_launch_option_that_it_needs(tune, tmp_path):
    needs = {("weights", "fp8"): "--disable-cuda-malloc"}
    tuning, verdict = tune(levers=(Lever("weights", ("fp8",)),), needs=needs)
    assert verdict.winner == (("weights", "fp8"),)
    assert ("--disable-cuda-malloc",) in tuning.rig.opened
    assert "start ComfyUI with --disable-cuda-malloc" in sentence(verdict, tuning)


def test_a_search_ends_within_its_budget(tune):
    tuning, _ = tune(budget_s=300)
    assert tuning.rig.seconds <= 300
    assert tuning.search.was_stopped
    enough, verdict = tune(budget_s=2000)
    assert enough.rig.seconds <= 2000
    assert verdict.winner != BASELINE


def test_a_short_budget_goes_to_the_finals(tune):
    """No mirror images before them, and never a combination that was not tried."""
    tuning, verdict = tune(budget_s=300)
    stages = [stage for stage, _ in dict.fromkeys((v.stage, v.block) for v in tuning.visits)]
    assert stages[:2] == [Stage.SCREENING, Stage.COMBINATIONS]
    assert set(stages[2:]) == {Stage.FINALS}
    assert len(stages) >= 4
    assert dict(verdict.winner) == {"launch": "--fast", "weights": "fp8", "attention": "sage"}


def test_where_time_is_short_the_fullest_combination_goes_on_alone(tune):
    def candidates(tuning, stage):
        return {v.settings for v in tuning.visits if v.stage is stage and v.settings != BASELINE}

    short, verdict = tune(budget_s=230)
    [fullest] = candidates(short, Stage.COMBINATIONS)
    assert len(fullest) == 3
    assert verdict.winner == fullest
    assert len(candidates(short, Stage.FINALS)) < 3
    long, _ = tune(budget_s=1000)
    assert len(candidates(long, Stage.COMBINATIONS)) == 2
    assert len(candidates(long, Stage.FINALS)) == 3


@pytest.mark.parametrize(("objective", "value"), [("j_per_img", 0.27), ("peak_vram", 1.0)])
def test_the_objective_decides(tune, objective, value):
    tuning, verdict = tune(objective=objective)
    if objective == "peak_vram":
        assert verdict.winner == BASELINE
    else:
        assert verdict.ratio.value == pytest.approx(value, rel=0.02)
        assert "joules" in sentence(verdict, tuning)


def test_a_workflow_that_fails_as_it_is_is_refused(tune):
    tuning, verdict = tune(factors={}, levers=(Lever("attention", ("auto",)),))
    assert verdict.winner == BASELINE
    rig = tuning.rig
    rig.measure = lambda *_: Prompt(error="out of memory")
    again = Tuning(GRAPH, rig, Search(LEVERS, Rule(), 0), "s_per_img", 1, 1e9, Gallery())
    with pytest.raises(CommandError, match="as it is cannot be measured: out of memory"):
        again.run()
    assert candidates_of(again)[0].fault == "out of memory"
