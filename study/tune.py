"""``wattbench tune``: carries out a search on a rig, with a user's own workflow."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

from ..errors import CommandError
from ..hosts.remote.graph import Graph, repeated_in_block
from ..records import Run
from .levers import lever_named
from .measured import Prompt
from .pictures import Gallery
from .rig import Bench, Rig
from .search import BASELINE, BEFORE_FINALS, Block, Outcome, Search, Settings, Stage, Verdict

Objective = Literal["j_per_img", "s_per_img", "peak_vram"]
OBJECTIVES: dict[Objective, str] = {
    "j_per_img": "J/img",
    "s_per_img": "s/img",
    "peak_vram": "B",
}
LAUNCH = "launch"

LEAST_FINALS = 3
"""So many blocks of finals are worth more than trying what did not help alone."""


@dataclass(frozen=True)
class Visit:
    """What one candidate's turn within a block gave: its prompts that count, and the verdict."""

    settings: Settings
    stage: Stage
    block: int
    prompts: tuple[Prompt, ...]
    outcome: Outcome
    picture_share: float | None = None


@dataclass(frozen=True)
class Progress:
    """What happens now, for a line on a terminal or a bar on a page."""

    stage: Stage
    block: int
    settings: Settings
    prompt: int
    prompt_count: int
    elapsed_s: float
    budget_s: float
    last: Prompt | None = None


@dataclass
class Tuning:
    """A search for better settings of one workflow.

    Args:
        workflow: as a page saves it, or in API format.
        search: what to measure next.
        objective: what is to become smaller.
        repeats: prompts that count in every visit; one more comes before them.
        budget_s: no block is begun that would end later than this.
        needs: launch options without which a level does not work, by lever and level.
        tell: gets a :class:`Progress` before every prompt.
        clock: seconds that pass.
        study: the name that this search has in its runs.
    """

    workflow: Mapping[str, Any]
    rig: Rig
    search: Search
    objective: Objective
    repeats: int
    budget_s: float
    gallery: Gallery
    needs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    tell: Callable[[Progress], None] = lambda progress: None
    clock: Callable[[], float] = time.monotonic
    study: str = field(default_factory=lambda: f"tune {uuid.uuid4().hex[:12]}")
    visits: list[Visit] = field(default_factory=list)
    _graphs: dict[Settings, Graph] = field(default_factory=dict)
    _turns_s: dict[Settings, float] = field(default_factory=dict)
    _starts_s: float = 0.0
    _start_count: int = 0
    _began_s: float = 0.0
    _prompt_count: int = 0
    _block_count: int = 0
    _bench: Bench | None = None

    def run(self) -> Verdict:
        """Search until it is over or the time is; what was measured is in ``visits`` in any case.

        Raises:
            CommandError: a server does not start, or the workflow itself does not run.
            ValueError: the workflow cannot be measured.
        """
        self._began_s = self.clock()
        while (block := self.search.next_block()) is not None:
            if self._is_better_left_out(block):
                self.search.leave()
                continue
            if self._is_shortened(block):
                continue
            if not self._fits(block):
                self.search.stop()
                break
            outcomes = self._measure(block)
            as_it_is = outcomes[BASELINE]
            if self._block_count == 1 and (as_it_is.value is None or as_it_is.fault):
                raise CommandError(
                    f"the workflow as it is cannot be measured: {as_it_is.fault}. Run it in "
                    "ComfyUI first"
                )
            self.search.record(block, outcomes)
        return self.search.verdict()

    def runs(self) -> list[Run]:
        """All that the probes saw, those of the baseline first, each with its block and cell."""
        blocks = dict.fromkeys((visit.stage, visit.block) for visit in self.visits)
        numbers = {block: number for number, block in enumerate(blocks, 1)}
        found = []
        for visit in sorted(self.visits, key=lambda visit: visit.settings != BASELINE):
            place = numbers[(visit.stage, visit.block)]
            for repeat, prompt in enumerate(visit.prompts):
                name = next((f"{p.parent.name}/{p.name}" for p in prompt.pictures), "")
                for run in prompt.runs:
                    run = replace(run, study=self.study, visit=place, repeat=repeat)
                    cell = name_of(visit.settings)
                    found.append(replace(run, cell=cell, picture_file=name))
        return found

    def tuned(self, settings: Settings) -> dict[str, Any]:
        """The workflow with ``settings`` in it, in the format it came in.

        Levers of the server are not in it. The baseline must have been measured before.
        """
        if self._bench is None:
            raise ValueError("nothing has been measured yet")
        return self._bench.with_settings(self.workflow, self._graphs[BASELINE], settings)

    def launch_of(self, settings: Settings) -> str:
        """The launch options that ``settings`` ask for, and those that they do not work without."""
        needed = [self.needs[pair] for pair in settings if pair in self.needs]
        return " ".join(dict.fromkeys([dict(settings).get(LAUNCH, ""), *needed])).strip()

    def _fits(self, block: Block) -> bool:
        """Whether there is time for ``block``; the first one has it always."""
        return not self.visits or self._takes_s(block.order) <= self._left_s()

    def _is_better_left_out(self, block: Block) -> bool:
        """Whether the finals need the time of ``block``: one that repeats another, or additions."""
        if block.stage not in BEFORE_FINALS or not (block.number or block.stage is Stage.ADDITIONS):
            return False
        finals = self.search.rule.blocks_min if block.number else LEAST_FINALS
        return self._takes_s(block.order) + finals * self._finals_s(block) > self._left_s()

    def _is_shortened(self, block: Block) -> bool:
        """Leave one candidate out where ``block`` and finals of some blocks would take too long."""
        if block.number or block.stage not in (Stage.COMBINATIONS, Stage.FINALS):
            return False
        is_final = block.stage is Stage.FINALS
        needed_s = 0.0 if is_final else self._takes_s(block.order)
        needed_s += LEAST_FINALS * (
            self._takes_s(block.order) if is_final else self._finals_s(block)
        )
        return needed_s > self._left_s() and self.search.spare()

    def _finals_s(self, block: Block) -> float:
        """What a block of finals takes whose finalists are the dearest of ``block``."""
        count = self.search.rule.finalists
        dearest = sorted(set(block.order) - {BASELINE}, key=self._turn_s)[-count:]
        return self._takes_s([BASELINE, *dearest])

    def _takes_s(self, order: Sequence[Settings]) -> float:
        """By what turns and the starts of servers have taken."""
        starts = len(set(map(self.launch_of, order)))
        return sum(map(self._turn_s, order)) + starts * self._starts_s / self._start_count

    def _turn_s(self, settings: Settings) -> float:
        """What a candidate's latest turn took, or that of the dearest of its levels alone.

        The first one is no measure of others: a compiler keeps on disk what it made.
        """
        known = [settings] if settings in self._turns_s else [(pair,) for pair in settings]
        return max(self._turns_s.get(one, 0.0) for one in known)

    def _left_s(self) -> float:
        return self.budget_s - (self.clock() - self._began_s)

    def _measure(self, block: Block) -> dict[Settings, Outcome]:
        """Visit every candidate of a block; those with the same launch options share a server."""
        block_began_s, visited_s = self.clock(), 0.0
        self._block_count += 1
        visits: list[Visit] = []
        launches = list(dict.fromkeys(self.launch_of(settings) for settings in block.order))
        for number, launch in enumerate(launches):
            name = f"{block.stage.value}{block.number + 1}_{number + 1}"
            with self.rig.open(launch.split(), name) as bench:
                for settings in block.order:
                    if self.launch_of(settings) == launch:
                        began_s = self.clock()
                        visits.append(self._visit(bench, block, settings))
                        self._turns_s[settings] = self.clock() - began_s
                        visited_s += self._turns_s[settings]
        self._starts_s += self.clock() - block_began_s - visited_s
        self._start_count += len(launches)
        # The baseline's pictures come first: the others are compared with them.
        judged = map(self._judged, sorted(visits, key=lambda visit: visit.settings != BASELINE))
        kept = {visit.settings: visit for visit in judged}
        self.visits += [kept[visit.settings] for visit in visits]
        return {settings: visit.outcome for settings, visit in kept.items()}

    def _visit(self, bench: Bench, block: Block, settings: Settings) -> Visit:
        place = (settings, block.stage, block.number)
        try:
            graph = self._graph(bench, settings)
        except ValueError as error:
            return Visit(*place, (), Outcome(None, str(error)))
        prompts: list[Prompt] = []
        # The first one warms up: it loads the model and fills caches. A server that has seen a
        # seed answers from its cache, so one that goes on from block to block gets new seeds.
        turn = 0 if self.rig.is_fresh else self._block_count
        graphs = repeated_in_block(graph, self.repeats, turn, bench.definitions)
        for number, one in enumerate(graphs):
            self.tell(self._progress(block, settings, number, prompts))
            self._prompt_count += 1
            name = f"{block.stage.value}{block.number + 1}_{self._prompt_count:04}"
            prompts.append(bench.measure(bench.watched(one), name))
            if prompts[-1].error:
                break
        outcome = self._outcome(prompts, settings, bench.counted)
        return Visit(*place, tuple(prompts[1:]), outcome)

    def _judged(self, visit: Visit) -> Visit:
        """The visit with what its pictures say."""
        if visit.outcome.fault:
            return visit
        first = 0 if self.rig.is_fresh else self._block_count * self.repeats
        pictures = {first + n: prompt.pictures for n, prompt in enumerate(visit.prompts)}
        if visit.settings == BASELINE:
            fault = self.gallery.add_baseline(pictures)
            return replace(visit, outcome=replace(visit.outcome, fault=fault))
        outcome = replace(visit.outcome, fault=self.gallery.fault(pictures))
        return replace(visit, outcome=outcome, picture_share=self.gallery.share(pictures))

    def _outcome(
        self, prompts: Sequence[Prompt], settings: Settings, counts: Container[str]
    ) -> Outcome:
        """The objective's geometric mean over the prompts that count, or why there is none."""
        errors = [prompt.error for prompt in prompts if prompt.error]
        if errors:
            return Outcome(None, errors[0])
        counted = prompts[1:]
        faults = (_fallback(prompt, settings, counts) for prompt in counted)
        fault = next(filter(None, faults), "")
        values = [value_of(prompt, self.objective) for prompt in counted]
        known = [value for value in values if value is not None and value > 0]
        if len(known) < len(values) or not known:
            note = next((prompt.note for prompt in counted if prompt.note), "nothing measured it")
            return Outcome(None, fault or f"no {OBJECTIVES[self.objective]}: {note}")
        return Outcome(math.exp(fmean(math.log(value) for value in known)), fault)

    def _graph(self, bench: Bench, settings: Settings) -> Graph:
        """The graph to run."""
        self._bench = bench
        in_graph = tuple(pair for pair in settings if pair[0] != LAUNCH)
        for wanted in (BASELINE, in_graph):
            if wanted not in self._graphs:
                as_it_is = self._graphs.get(BASELINE)
                self._graphs[wanted] = bench.graph_with(self.workflow, as_it_is, wanted)
        return self._graphs[in_graph]

    def _progress(
        self, block: Block, settings: Settings, number: int, prompts: Sequence[Prompt]
    ) -> Progress:
        return Progress(
            block.stage,
            block.number,
            settings,
            number,
            self.repeats + 1,
            self.clock() - self._began_s,
            self.budget_s,
            prompts[-1] if prompts else None,
        )


def name_of(settings: Settings) -> str:
    """``attention=auto, compile=default``; ``as it is`` for the baseline."""
    return ", ".join(f"{lever}={level}" for lever, level in settings) or "as it is"


def value_of(prompt: Prompt, objective: Objective) -> float | None:
    """What is to become smaller, per picture where it is a cost."""
    if objective == "peak_vram":
        return prompt.peak_vram_bytes
    return prompt.j_per_img if objective == "j_per_img" else prompt.s_per_img


def _fallback(prompt: Prompt, settings: Settings, counted: Container[str]) -> str:
    """What a lever was asked for and did not do; empty where what ran is what was asked."""
    for lever, level in settings:
        operation = lever_named(lever).counts
        if operation not in counted:
            continue
        calls = [call for call in prompt.kernel_calls if call.operation == operation]
        if not calls:
            return f"{lever}={level} was never consulted by this model"
        fallen = [call for call in calls if call.reason]
        if fallen:
            count, total = sum(c.call_count for c in fallen), sum(c.call_count for c in calls)
            return f"{count} of {total} {operation} calls fell back: {fallen[0].reason}"
    return ""
