"""Which cards there are, which are asked for, and how a plan travels."""

import json
from dataclasses import replace

import pytest

from wattbench.errors import UsageError
from wattbench.fleet.cards import Card, is_wanted, mismatch, place, visible
from wattbench.fleet.parcel import pack
from wattbench.fleet.worker import WORKFLOWS
from wattbench.measure.meters.nvml_library import Board
from wattbench.study.plan import CardsWanted, FleetWanted, read_plan

from .conftest import PLAN, machine

BOARDS = [Board(0, uuid="GPU-aaaa-1"), Board(1, uuid="GPU-bbbb-2")]
CARD = Card("oak", "NVIDIA GeForce RTX 3090", "GPU-1", "580.65.06")


@pytest.mark.parametrize(
    ("mask", "left"),
    [
        (None, [0, 1]),
        ("", []),
        ("1", [1]),
        ("1,0", [1, 0]),
        ("0,0", [0]),
        ("GPU-bbbb", [1]),
        ("2", []),
        ("MIG-x", []),
    ],
)
def test_a_mask_leaves_cards(mask, left):
    assert [board.index for board in visible(BOARDS, mask)] == left


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (CardsWanted(), True),
        (CardsWanted(gpu="rtx 3090"), True),
        (CardsWanted(gpu="RTX 4090"), False),
        (CardsWanted(driver="580"), True),
        (CardsWanted(driver="80"), False),
        (CardsWanted(host="OAK"), True),
        (CardsWanted(host="oa"), False),
        (CardsWanted("3090", "580.65", "oak"), True),
        (CardsWanted("3090", "590", "oak"), False),
    ],
)
def test_labels(wanted, fits):
    assert is_wanted(CARD, wanted) is fits


def test_a_key_is_of_the_card_in_its_machine():
    assert CARD.key.startswith("nvidia-geforce-rtx-3090-")
    assert CARD.key == replace(CARD, driver="590", board="nvml:3").key
    assert CARD.key != replace(CARD, host="elm").key
    assert CARD.key != replace(CARD, uuid="GPU-2").key


def test_versions():
    here = machine("oak")
    assert mismatch(machine("elm"), here) == ""
    assert "elm has WattBench 0.0.1" in mismatch(machine("elm", pack="0.0.1"), here)
    assert "elm has WattBench" in mismatch(machine("elm", git_commit="1" * 40), here)


def test_a_card_that_two_entries_want_does_all_of_their_workloads():
    there = {"a": machine("oak", "GPU-1")}
    bee, moth = CardsWanted(workloads=("bee",)), CardsWanted(workloads=("moth",))
    [one], missing = place([bee, moth], there, machine("oak"))
    assert one.workloads == ("bee", "moth")
    assert missing == {}
    [one], _ = place([bee, CardsWanted()], there, machine("oak"))
    assert one.workloads == ()


def test_what_is_missing_is_told_with_what_there_is():
    there = {"a": machine("oak", "GPU-1"), "b": machine("elm", "GPU-2", pack="0.0.1")}
    _, missing = place([CardsWanted(gpu="GPU-2", host="elm")], there, machine("oak"))
    assert missing[0].startswith("no card has gpu = GPU-2, host = elm; there are: Made GPU-1")
    assert "elm has WattBench 0.0.1" in missing[0]


def test_a_parcel_is_the_same_plan_elsewhere(tmp_path, planned):
    plan, parcel = planned()
    path = parcel.unpack(tmp_path / "there", WORKFLOWS)
    again, other = pack(path, WORKFLOWS)
    assert other == parcel
    assert (again.name, again.cells()) == (plan.name, plan.cells())


def test_shipped_workflows_stay_where_they_are(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[[workload]]\nworkflow = "quickstart"\n', "utf-8")
    _, parcel = pack(path, WORKFLOWS)
    assert parcel.files == {}
    assert list(parcel.hashes) == ["quickstart"]
    assert parcel.unpack(tmp_path / "there", WORKFLOWS).is_file()


def test_a_workflow_out_of_reach_is_refused(tmp_path):
    (tmp_path / "plans").mkdir()
    (tmp_path / "x.json").write_text("{}", "utf-8")
    path = tmp_path / "plans" / "p.toml"
    path.write_text('[[workload]]\nworkflow = "../x.json"\n', "utf-8")
    with pytest.raises(UsageError, match="lies elsewhere than the plan"):
        pack(path, WORKFLOWS)


@pytest.mark.parametrize("name", ["../evil.json", "/etc/evil.json", "a/../../evil.json"])
def test_a_parcel_writes_nowhere_else(tmp_path, planned, name):
    _, parcel = planned()
    with pytest.raises(UsageError, match="not a file in"):
        replace(parcel, files={name: "{}"}).unpack(tmp_path / "there", WORKFLOWS)
    assert not (tmp_path / "evil.json").exists()


def read(tmp_path, text):
    (tmp_path / "moth.json").write_text("{}", "utf-8")
    path = tmp_path / "plan.toml"
    path.write_text(PLAN + text, "utf-8")
    return read_plan(path, WORKFLOWS)


def test_a_plan_names_its_cards(tmp_path):
    assert read(tmp_path, "").fleet == FleetWanted()
    text = '[fleet]\ntogether = true\ncards = [{ gpu = "3090", workloads = ["moth"] }, {}]\n'
    cards = (CardsWanted(gpu="3090", workloads=("moth",)), CardsWanted())
    assert read(tmp_path, text).fleet == FleetWanted(cards, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[fleet]\nc = 1\n", "has no 'c'"),
        ("[fleet]\ntogether = 1\n", "line 16: together is true or false"),
        ("[fleet]\ncards = []\n", "line 16: cards are a list"),
        ("[fleet]\ncards = 3\n", "cards are a list"),
        ("[fleet]\ncards = [3]\n", "a card is no table"),
        ('[fleet]\ncards = [{ gpus = "x" }]\n', "no 'gpus'; did you mean 'gpu'"),
        ("[fleet]\ncards = [{ gpu = 3 }]\n", "gpu = 3 is no text"),
        ('[fleet]\ncards = [{ workloads = ["bee"] }]\n', "name some of the plan's"),
    ],
)
def test_what_a_fleet_table_cannot_be(tmp_path, text, words):
    with pytest.raises(UsageError) as told:
        read(tmp_path, text)
    assert words in str(told.value)


def test_who_measures_is_no_part_of_what_is_measured(tmp_path, planned):
    """The journal of a plan goes on with other cards in its [fleet]."""
    from wattbench.cli.matrix import begin
    from wattbench.study.cells import Ready
    from wattbench.study.visits import read_visits

    for fleet in ("", "[fleet]\ntogether = true\n"):
        plan, _ = planned(fleet)
        journal = read_visits(tmp_path / "matrix.jsonl")
        begin(journal, plan, Ready(plan.cells()), {}, ())
    assert (
        "fleet" not in json.loads((tmp_path / "matrix.jsonl").read_text("utf-8"))["header"]["plan"]
    )
