"""The search over made-up machines: it keeps what works, and never praises what does not."""

import math
import random

import pytest

from wattbench.study.search import BASELINE, Lever, Outcome, Rule, Search, Stage

LEVERS = (
    Lever("launch", ("--disable-dynamic-vram",)),
    Lever("weights", ("fp8", "nf4")),
    Lever("attention", ("sdpa_math", "sage", "auto")),
    Lever("compile", ("default",)),
)
BETWEEN, WITHIN, DRIFT = 0.02, 0.005, 0.04
"""Spread between processes and within one, and how far the machine drifts over a search."""


class Machine:
    """What a search measures: true factors of levels, scatter of processes, and a slow drift."""

    def __init__(self, factors, seed, broken=()):
        self.factors, self.broken = factors, broken
        self.chance = random.Random(seed)
        self.measured = 0

    def truth(self, settings):
        return math.prod(self.factors.get(level, 1.0) for _, level in settings)

    def block(self, order):
        process = self.chance.gauss(0, BETWEEN)
        return {settings: self.outcome(settings, process) for settings in order}

    def outcome(self, settings, process):
        self.measured += 1
        if any(level in self.broken for _, level in settings):
            return Outcome(0.1, "the picture is black")
        noise = process + self.chance.gauss(0, WITHIN) + DRIFT * self.measured / 100
        return Outcome(100 * self.truth(settings) * math.exp(noise))


def search_on(machine, seed=0):
    search = Search(LEVERS, Rule(), seed)
    while block := search.next_block():
        search.record(block, machine.block(block.order))
    return search


def test_the_best_combination_wins():
    factors = {"auto": 0.93, "sage": 0.97, "fp8": 0.75, "nf4": 1.3, "default": 0.85}
    search = search_on(Machine(factors, 1))
    verdict = search.verdict()
    assert dict(verdict.winner) == {"weights": "fp8", "attention": "auto", "compile": "default"}
    assert [lever for lever, _ in verdict.winner] == ["weights", "attention", "compile"]
    assert verdict.ratio.value == pytest.approx(0.75 * 0.93 * 0.85, rel=0.02)


def test_where_nothing_helps_it_says_keep():
    """At least 19 of 20, over many searches on machines whose levers change nothing."""
    verdicts = [search_on(Machine({}, seed), seed).verdict() for seed in range(300)]
    kept = [verdict for verdict in verdicts if verdict.winner == BASELINE]
    assert len(kept) >= 0.95 * len(verdicts)
    assert all(verdict.reason for verdict in kept)


def test_intervals_cover_what_is_true():
    """Known effects lie in the finalists' intervals as often as the intervals say."""
    covered, ranked, total = 0, 0, 0
    for seed in range(200):
        machine = Machine({"auto": 0.95, "fp8": 0.9, "default": 0.97}, seed)
        search = search_on(machine, seed)
        ratios = search.ratios(Stage.FINALS)
        for settings, ratio in ratios.items():
            total += 1
            covered += ratio.ci_low <= machine.truth(settings) <= ratio.ci_high
        chosen = dict(search.verdict().winner).items()
        ranked += chosen >= {("weights", "fp8"), ("attention", "auto")}
    assert 0.90 <= covered / total <= 0.98
    assert ranked >= 0.95 * 200


class WaitingMachine(Machine):
    """Its host queues work for 0.8 of the time, unless the model is compiled."""

    def truth(self, settings):
        levels = [level for _, level in settings]
        host = 0.1 if "default" in levels else 0.8
        return max(host, 0.6 * math.prod(self.factors.get(level, 1.0) for level in levels))


def test_what_helps_only_where_the_host_is_not_waited_for_is_found(monkeypatch):
    """Alone, a kernel saves nothing while the card waits, and costs the host some time more."""
    monkeypatch.setattr(f"{__name__}.WITHIN", 0.001)
    factors = {"auto": 0.9, "fp8": 0.8, "sage": 1.1, "nf4": 1.2, "sdpa_math": 1.3}
    for seed in range(20):
        machine = WaitingMachine(factors, seed)
        verdict = search_on(machine, seed).verdict()
        assert dict(verdict.winner) == {"weights": "fp8", "attention": "auto", "compile": "default"}
        assert verdict.ratio.value == pytest.approx(0.6 * 0.9 * 0.8 / 0.8, rel=0.03)


@pytest.mark.parametrize("broken", ["fp8", "auto"])
def test_a_broken_lever_never_wins(broken):
    for seed in range(20):
        machine = Machine({"auto": 0.6, "fp8": 0.5, "default": 0.9}, seed, broken={broken})
        search = search_on(machine, seed)
        verdict = search.verdict()
        assert broken not in dict(verdict.winner).values()
        assert verdict.winner != BASELINE
        assert any(broken in dict(settings).values() for settings in search.faults)


def test_a_lever_that_breaks_in_the_finals_is_out():
    machine = Machine({"fp8": 0.5}, 3)
    search = Search(LEVERS, Rule(), 0)
    while block := search.next_block():
        if block.stage is Stage.FINALS:
            machine.broken = {"fp8"}
        search.record(block, machine.block(block.order))
    assert search.verdict().winner == BASELINE


def test_a_block_whose_baseline_failed_counts_for_nothing():
    search = Search((Lever("attention", ("auto",)),), Rule(), 0)
    machine = Machine({"auto": 0.5}, 4)
    while block := search.next_block():
        outcomes = machine.block(block.order)
        if block.number == 0:
            outcomes[BASELINE] = Outcome(None, "out of memory")
        search.record(block, outcomes)
    assert search.faults == {}
    assert search.verdict().ratio.n < search.block_count(Stage.FINALS)


def test_stopped_early_it_keeps_the_baseline_and_says_why():
    search = Search(LEVERS, Rule(), 0)
    machine = Machine({"fp8": 0.5}, 5)
    block = search.next_block()
    search.record(block, machine.block(block.order))
    search.stop()
    assert search.next_block() is None
    verdict = search.verdict()
    assert verdict.winner == BASELINE
    assert "before the finals" in verdict.reason


def test_the_same_seed_gives_the_same_orders():
    def orders(seed):
        search, machine, found = Search(LEVERS, Rule(), seed), Machine({"fp8": 0.8}, 6), []
        while block := search.next_block():
            found.append(block.order)
            search.record(block, machine.block(block.order))
        return found

    assert orders(1) == orders(1)
    assert orders(1)[0] != orders(2)[0]


def test_a_hopeless_lever_is_measured_once():
    search, machine = Search(LEVERS, Rule(), 0), Machine({"sdpa_math": 3.0, "nf4": 1.2}, 7)
    first = search.next_block()
    search.record(first, machine.block(first.order))
    second = search.next_block()
    hopeless = {(("attention", "sdpa_math"),), (("weights", "nf4"),)}
    assert hopeless <= set(first.order)
    assert not hopeless & set(second.order)
    assert [s for s in first.order[::-1] if s not in hopeless] == list(second.order)


@pytest.mark.parametrize(("blocks_max", "spread"), [(12, 0.2), (7, 0.2), (12, 0.0001)])
def test_finals_end_by_precision_or_by_number(blocks_max, spread):
    search = Search((Lever("attention", ("auto",)),), Rule(blocks_max=blocks_max), 0)
    chance = random.Random(8)
    while block := search.next_block():
        factor = 0.5 if block.stage is not Stage.FINALS else 0.99
        search.record(
            block,
            {
                settings: Outcome((factor if settings else 1.0) * math.exp(chance.gauss(0, spread)))
                for settings in block.order
            },
        )
    made = len(search._results[Stage.FINALS])
    assert made == (blocks_max if spread > 0.1 else search.rule.blocks_min)


def test_outcomes_of_other_candidates_are_refused():
    search = Search(LEVERS, Rule(), 0)
    block = search.next_block()
    with pytest.raises(ValueError, match="not those of the block"):
        search.record(block, {BASELINE: Outcome(1.0)})


@pytest.mark.parametrize(("gain", "levers"), [(1.0, {"weights"}), (0.9, {"weights", "attention"})])
def test_of_finalists_that_cannot_be_told_apart_the_simpler_one_wins(gain, levers):
    """A lever that seemed to help, and adds nothing in the finals, is not asked of the user."""
    found = []
    for seed in range(40):
        machine = Machine({"fp8": 0.7, "auto": 0.97}, seed)
        search = Search(LEVERS, Rule(), seed)
        while block := search.next_block():
            if block.stage is Stage.FINALS:
                machine.factors = {"fp8": 0.7, "auto": gain}
            search.record(block, machine.block(block.order))
        found.append(set(dict(search.verdict().winner)) == levers)
    assert sum(found) >= 0.9 * len(found)
