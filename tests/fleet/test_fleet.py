"""A plan on several cards: who measures, what comes back, what is lost, and the tables of all."""

import subprocess
import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace

import pandas as pd
import pytest

from wattbench.fleet.cards import Placed
from wattbench.fleet.coordinator import BEGIN_S, SAID_S, TRIES, Sent, Working
from wattbench.fleet.places import LostError
from wattbench.fleet.results import write_fleet
from wattbench.fleet.store import PulledError, Store
from wattbench.fleet.worker import Outcome, Packed, work
from wattbench.study.visits import JOURNAL, read_visits

from ..waiting import until
from .conftest import MADE, PLAN, MadePlaces, machine

CELLS = ["moth: attention=as_is", "moth: attention=sdpa"]
IDENTITY = ["gpu_uuid", "attention", "n", "visits", "s_per_img_mean", "j_per_img_mean"]
COMPARED = ["j_per_img_ratio", "pairs", "comparison_note"]


def visits_of(store):
    """How often each visit of each card is there."""
    return Counter(
        (key, visit.cell, visit.block)
        for key, folder in store.cards().items()
        for visit in read_visits(folder / JOURNAL).made
    )


def once(*keys):
    return Counter((key, cell, block) for key in keys for cell in CELLS for block in range(2))


def test_the_merged_tables_are_those_of_each_machine_alone(coordinate, tmp_path):
    places = MadePlaces({"a": machine("oak", "GPU-fast"), "b": machine("elm", "GPU-slow")})
    fleet = coordinate(places)
    assert fleet.run()
    is_whole, _ = write_fleet(fleet)
    assert is_whole
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert Counter(cells["status"]) == {"measured": 4}
    assert set(cells["visits"]) == {2}
    alone = []
    for uuid in ("GPU-fast", "GPU-slow"):
        plan, out = tmp_path / "plans" / "small.toml", tmp_path / uuid
        subprocess.run(
            [*MADE, str(plan), "--out", str(out)],
            env={"CUDA_VISIBLE_DEVICES": uuid},
            check=True,
            capture_output=True,
        )
        alone.append(pd.read_csv(out / "summary.csv"))
    wanted = pd.concat(alone).set_index(["gpu_uuid", "attention"]).sort_index()
    found = pd.read_csv(tmp_path / "out" / "summary.csv")
    found = found.set_index(["gpu_uuid", "attention"]).sort_index()
    pd.testing.assert_frame_equal(found, wanted)
    assert found["comparison_note"].tolist().count("baseline") == 2
    assert found.loc[("GPU-slow", "as_is"), "s_per_img_mean"] == pytest.approx(
        2 * found.loc[("GPU-fast", "as_is"), "s_per_img_mean"]
    )
    page = (tmp_path / "out" / "fleet.md").read_text("utf-8")
    assert "Least energy: Made GPU-fast" in page
    assert "# Your runs beside the study of edge nodes" in page


def test_cards_of_one_machine_measure_one_after_the_other(in_process, coordinate):
    places = MadePlaces({"a": machine("oak", "GPU-1", "GPU-2")})
    fleet = coordinate(places)
    assert fleet.run()
    assert places.most == {"oak": 1}
    assert not any(assignment.beside for assignment in places.sent)
    assert visits_of(fleet.store) == once(*fleet.cards)


def test_together_they_are_flagged_in_every_run(in_process, coordinate, tmp_path):
    places = MadePlaces({"a": machine("oak", "GPU-1", "GPU-2")})
    fleet = coordinate(places, "[fleet]\ntogether = true\n")
    assert fleet.run()
    assert {assignment.beside for assignment in places.sent} == {
        ("Made GPU-1 of oak",),
        ("Made GPU-2 of oak",),
    }
    write_fleet(fleet)
    flags = pd.read_csv(tmp_path / "out" / "runs.csv")["flags"]
    assert flags.str.contains("they share power, heat and host").all()
    assert "measured together with" in (tmp_path / "out" / "fleet.md").read_text("utf-8")


def test_labels_choose_the_cards_and_their_workloads(coordinate):
    text = '[[workload]]\nname = "bee"\nworkflow = "moth.json"\n'
    fleet = f"""{text}
[fleet]
cards = [{{ gpu = "gpu-1", workloads = ["bee"] }}, {{ host = "elm", driver = "580" }},
         {{ gpu = "H200" }}]
"""
    done = lambda assignment: Outcome("refused", "enough")  # noqa: E731
    places = MadePlaces({"a": machine("oak", "GPU-1", "GPU-2"), "b": machine("elm", "GPU-3")}, done)
    made = coordinate(places, fleet)
    assert not made.run()
    assert {a.card.uuid: a.workloads for a in places.sent} == {"GPU-1": ("bee",), "GPU-3": ()}
    [said] = [event for event in made.told if event["event"] == "unplaceable"]
    assert "no card has gpu = H200; there are: Made GPU-1 (driver 580.65) on oak" in said["reason"]
    assert said["cells"] == [*CELLS, *(cell.replace("moth", "bee") for cell in CELLS)]


def test_nobody_there_is_said_before_anything_is_measured(coordinate):
    places = MadePlaces({})
    places.mute = ("192.0.2.1 does not say what it has",)
    fleet = coordinate(places)
    assert not fleet.run()
    assert fleet.told[0]["event"] == "unplaceable"
    assert "no machines; 192.0.2.1 does not say what it has" in fleet.told[0]["reason"]
    is_whole, lines = write_fleet(fleet)
    assert not is_whole
    assert "2 cells unplaceable" in lines


def test_another_version_is_refused_by_name(coordinate):
    places = MadePlaces(
        {"a": machine("oak", "GPU-1"), "b": machine("elm", "GPU-2", git_commit="abc")},
        lambda assignment: Outcome("refused", "enough"),
    )
    made = coordinate(places, '[fleet]\ncards = [{ gpu = "GPU-1" }, { gpu = "GPU-2" }]\n')
    assert not made.run()
    assert [assignment.card.uuid for assignment in places.sent] == ["GPU-1"]
    [said] = [event for event in made.told if event["event"] == "unplaceable"]
    assert "elm has WattBench" in said["reason"]
    assert "(abc)" in said["reason"]


def test_a_node_refuses_a_sender_of_another_version(planned):
    _, parcel = planned()
    [card] = machine("oak", "GPU-1").cards
    from wattbench.fleet.worker import Assignment

    sender = machine("elm", pack="0.0.1")
    outcome = work(Assignment("study", sender, parcel, card, 1), ["/nowhere"])
    assert outcome.status == "refused"
    assert "elm has 0.0.1" in outcome.reason


def test_another_workflow_is_refused_by_name(planned):
    from wattbench.fleet.worker import Assignment

    _, parcel = planned()
    [card] = machine("oak", "GPU-1").cards
    other = replace(parcel, hashes={"moth": "0" * 16})
    outcome = work(Assignment("study", machine("oak"), other, card, 1), ["/nowhere"])
    assert outcome.status == "refused"
    assert "the workflow of moth differs" in outcome.reason


@pytest.mark.parametrize("is_all_lost", [False, True])
def test_a_coordinator_that_dies_loses_nothing(in_process, coordinate, tmp_path, is_all_lost):
    places = MadePlaces({"a": machine("oak", "GPU-1")})

    def dies(event):
        if event["event"] == "block":
            raise KeyboardInterrupt

    first = coordinate(places, tell=dies)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    if is_all_lost:
        for path in first.store.cards()[next(iter(first.cards))].iterdir():
            path.unlink()
    second = coordinate(places)
    assert second.store.study == first.store.study
    assert second.run()
    assert visits_of(second.store) == once(*second.cards)


def test_a_node_that_dies_comes_back_and_continues(in_process, coordinate):
    places = MadePlaces({"a": machine("oak", "GPU-1")})
    lost = iter([False, True])

    def sometimes(assignment):
        if next(lost, False):
            places.there = {}
            raise LostError("node a died", place_is_gone=True)
        return work(assignment, MADE)

    places.real = sometimes
    first = coordinate(places)
    assert not first.run()
    is_whole, _ = write_fleet(first)
    cells = pd.read_csv(first.store.folder / "cells.csv")
    assert not is_whole
    assert cells[["status", "visits"]].to_numpy().tolist() == [["not done", 1], ["not done", 1]]
    assert set(cells["reason"]) == {"lost: node a died"}
    places.there = {"a again": machine("oak", "GPU-1")}
    second = coordinate(places)
    assert second.run()
    assert visits_of(second.store) == once(*second.cards)


def test_within_one_run_a_node_that_is_back_goes_on(in_process, coordinate):
    places = MadePlaces({"a": machine("oak", "GPU-1")})
    seconds = iter(range(0, 10**6, 10))
    lost = iter([True])

    def sometimes(assignment):
        if next(lost, False):
            places.there = {"a again": machine("oak", "GPU-1")}
            raise LostError("node a died", place_is_gone=True)
        return work(assignment, MADE)

    places.real = sometimes
    fleet = coordinate(places, patience_s=10**6, clock=lambda: next(seconds), rest=lambda s: None)
    assert fleet.run()
    assert "back" in {event["event"] for event in fleet.told}
    assert visits_of(fleet.store) == once(*fleet.cards)


def test_a_node_that_is_back_before_its_death_is_told_goes_on(in_process, coordinate):
    """Ray may list a node anew while the task on the old one has not failed yet."""
    places = MadePlaces({"a": machine("oak", "GPU-1")})
    seconds, lost = iter(range(0, 10**6, 10)), iter([True])

    def late(assignment):
        if next(lost, False):
            places.there = {"a again": machine("oak", "GPU-1")}
            until(lambda: "back" in {event["event"] for event in fleet.told}, 120)
            raise LostError("node a died", place_is_gone=True)
        return work(assignment, MADE)

    places.real = late
    fleet = coordinate(places, patience_s=10**5, clock=lambda: next(seconds), rest=lambda s: None)
    assert fleet.run()
    assert visits_of(fleet.store) == once(*fleet.cards)


def test_a_block_that_is_long_in_coming_is_named(coordinate):
    """Once after five minutes, and again after five more."""
    asked = threading.Event()
    seconds = iter(range(0, 10**6, 50))

    def slow(assignment):
        assert asked.wait(600)
        return Outcome("refused", "enough")

    def tell(event):
        told.append(event)
        if sum(one["event"] == "waits" for one in told) == 2:
            asked.set()

    told = []
    places = MadePlaces({"a": machine("oak", "GPU-1")}, slow)
    clock = lambda: next(seconds)  # noqa: E731
    coordinate(places, tell=tell, clock=clock).run()
    first, second = [event["waited_s"] for event in told if event["event"] == "waits"]
    assert SAID_S <= first < 2 * SAID_S
    assert second - first >= SAID_S
    assert {event["block"] for event in told if event["event"] == "waits"} == {1}


def test_a_block_that_nobody_begins_is_given_up_by_name(coordinate, tmp_path):
    """Also when only a part of the cards is affected: the others' blocks are measured."""
    waiting, seconds = Future(), iter(range(0, 10**6, 50))
    places = MadePlaces({"a": machine("oak", "GPU-1"), "b": machine("elm", "GPU-2")})
    real = places.submit

    def submit(place, assignment, share):
        return waiting if place == "a" else real(place, assignment, share)

    places.submit = submit
    clock = lambda: next(seconds)  # noqa: E731
    fleet = coordinate(places, clock=clock, rest=lambda s: None)
    assert not fleet.run()
    assert waiting.cancelled()
    [stopped] = [event for event in fleet.told if event["event"] == "stopped"]
    assert "not begun within 30 minutes: something else has taken oak" in stopped["reason"]
    is_whole, lines = write_fleet(fleet)
    assert not is_whole
    assert {"2 cells not done", "2 cells measured"} <= set(lines)
    cells = pd.read_csv(tmp_path / "out" / "cells.csv").set_index("status")
    assert "something else has taken oak" in cells.loc["not done", "reason"].iloc[0]


@pytest.mark.parametrize(
    ("waited_s", "has_begun", "is_left"),
    [
        (BEGIN_S - 1, False, False),
        (BEGIN_S, False, True),
        (10 * BEGIN_S, True, False),
    ],
)
def test_what_has_begun_may_take_long(coordinate, waited_s, has_begun, is_left):
    fleet = coordinate(MadePlaces({}))
    future = Future()
    if has_begun:
        future.set_running_or_notify_cancel()
    [card] = machine("oak", "GPU-1").cards
    working = Working(Placed(card, "a"))
    fleet._flying[future] = Sent(working, "a", 0.0)
    fleet.clock = lambda: waited_s
    fleet._give_up()
    assert bool(working.stopped) is is_left
    assert (future in fleet._flying) is not is_left


def test_a_card_that_never_works_is_given_up(coordinate):
    places = MadePlaces({"a": machine("oak", "GPU-1")}, lambda a: Outcome("failed", "no ComfyUI"))
    seconds = iter(range(0, 10**6, 10))
    fleet = coordinate(places, patience_s=10**6, clock=lambda: next(seconds), rest=lambda s: None)
    assert not fleet.run()
    assert len(places.sent) == TRIES
    assert "no ComfyUI (3 times without a new visit)" in fleet.told[-1]["reason"]


@pytest.fixture
def pulled(in_process, coordinate, tmp_path):
    """A store of another folder, a card, and what its machine sends."""
    places = MadePlaces({"a": machine("oak", "GPU-1")})
    fleet = coordinate(places, text=PLAN.replace("= 2\n", "= 1\n"))
    assert fleet.run()
    [working] = fleet.cards.values()
    folder = fleet.store.folder_of(working.card)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "card.json"}
    return Store(tmp_path / "other", "study"), working.card, files


def packed(files):
    return {name: Packed.of(content) for name, content in files.items()}


def test_what_comes_is_checked(pulled):
    store, card, files = pulled
    (store.folder_of(card)).mkdir(parents=True)
    assert store.keep(card, packed(files)) == 2
    assert store.keep(card, packed(files)) == 0
    changed = files["runs.jsonl"].replace(b'"wall_time_s":', b'"wall_time_s":1')
    for given, words in (
        ({**packed(files), "../x": Packed.of(b"")}, "nobody asked for"),
        ({"runs.jsonl": Packed.of(files["runs.jsonl"])}, "no journal came"),
        ({**packed(files), JOURNAL: Packed("0" * 64, packed(files)[JOURNAL].data)}, "SHA-256"),
        ({**packed(files), JOURNAL: Packed("0" * 64, b"x")}, "damaged"),
        ({JOURNAL: Packed.of(files[JOURNAL])}, "no runs.jsonl came"),
        (packed({**files, "runs.jsonl": b""}), "lacks run"),
        (packed({**files, "runs.jsonl": changed}), "runs.jsonl, line 1"),
        (packed({**files, JOURNAL: files[JOURNAL].replace(b'"study"', b'"Study"', 1)}), "damaged"),
        (packed({**files, JOURNAL: files[JOURNAL].splitlines(keepends=True)[0]}), "no longer"),
    ):
        with pytest.raises(PulledError, match=words):
            store.keep(card, given)
    with pytest.raises(PulledError, match="measured on another card: Made GPU-1"):
        store.keep(replace(card, uuid="GPU-2"), packed(files))


def test_numbers_that_do_not_follow_are_refused(pulled):
    store, card, files = pulled
    (store.folder_of(card)).mkdir(parents=True)
    import json

    from wattbench.measure.protocol.journal import dumps, read, sealed

    runs = [replace(run, wall_time_s=0.01) for run in read(files["runs.jsonl"]).runs]
    lines = [json.loads(line) for line in files[JOURNAL].splitlines()]
    for line, run in zip(lines[1:], runs, strict=True):
        line["runs"] = [json.loads(dumps(run))]
        del line["crc32"]
    compact = [files[JOURNAL].decode().splitlines()[0]]
    compact += [sealed(json.dumps(line, separators=(",", ":"))) for line in lines[1:]]
    journal = "\n".join((*compact, "")).encode()
    with pytest.raises(PulledError, match=r"do not follow from each other: run .* a phase ends"):
        store.keep(card, packed({**files, JOURNAL: journal}))


def test_a_folder_of_another_plan_is_refused(coordinate):
    from wattbench.errors import UsageError

    coordinate(MadePlaces({}))
    with pytest.raises(UsageError, match="not the plan that"):
        coordinate(MadePlaces({}), "# another\n")


def test_a_card_is_taken_once_whatever_its_future(coordinate):
    """What raises neither LostError nor an outcome is a fault of ours and is not passed over."""
    fleet = coordinate(MadePlaces({"a": machine("oak", "GPU-1")}))

    def submit(place, assignment, share):
        future = Future()
        future.set_exception(ZeroDivisionError())
        return future

    fleet.places.submit = submit
    with pytest.raises(ZeroDivisionError):
        fleet.run()
