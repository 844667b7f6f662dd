"""The planner against every assignment that there is, and what it says where there is none."""

import itertools
import random

import pytest

from wattbench import cli
from wattbench.errors import UsageError
from wattbench.fleet.queue import NoPlanError, plan_queue, usable
from wattbench.fleet.rows import CardRow
from wattbench.measure.protocol.journal import dumps
from wattbench.records import Estimate


def row(card="a", joules=100.0, seconds=1.0, idle_w=10.0, work="moth", setting="sdpa", **more):
    def estimated(value, half):
        return value and Estimate(value, value - half, value + half, 0.95, 5, "", half)

    return CardRow(
        card=card,
        gpu=f"Made {card}",
        work=work,
        setting=setting,
        seconds=estimated(seconds, 0.0),
        joules=estimated(joules, 2.0),
        peak_vram_bytes=None,
        idle_power_w=idle_w,
        meter="counter",
        run_count=5,
        visit_count=5,
        **more,
    )


def splits(total, parts):
    """Every way to share out so many images."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in splits(total - first, parts - 1):
            yield (first, *rest)


def least_by_trying(rows, images, deadline_s, power_w, idle):
    """The least energy of all assignments; ``None`` where none does."""
    best = None
    cards = {r.card: r.idle_power_w if idle != "off" else 0.0 for r in rows}
    ways = [splits(n, sum(r.work == work for r in rows)) for work, n in images.items()]
    for chosen in itertools.product(*ways):
        counts = {work: iter(numbers) for work, numbers in zip(images, chosen, strict=True)}
        made = [next(counts[r.work]) for r in rows]
        busy_s, peak_w, energy_j = dict.fromkeys(cards, 0.0), dict(cards), 0.0
        for r, n in zip(rows, made, strict=True):
            busy_s[r.card] += n * r.seconds.value
            energy_j += n * r.joules.value
            if n:
                peak_w[r.card] = max(peak_w[r.card], r.joules.value / r.seconds.value)
        time_s = max(busy_s.values())
        if deadline_s is not None and time_s > deadline_s + 1e-9:
            continue
        if power_w is not None and sum(peak_w.values()) > power_w + 1e-9:
            continue
        on_s = deadline_s if idle == "deadline" else time_s
        energy_j += sum(w * (on_s - busy_s[card]) for card, w in cards.items())
        best = energy_j if best is None else min(best, energy_j)
    return best


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("idle", ["queue", "deadline", "off"])
def test_nothing_that_can_be_tried_is_cheaper(seed, idle):
    dice = random.Random(seed)
    rows = [
        row(
            card,
            joules=dice.uniform(50, 300),
            seconds=dice.uniform(0.5, 3),
            idle_w=idle_w,
            work=work,
            setting=str(n),
        )
        for card, idle_w in (("a", 15.0), ("b", 60.0))
        for n, work in enumerate(("moth", "moth", "bee"))
    ]
    images = {"moth": 4, "bee": 3}
    deadline_s = dice.uniform(4, 12) if idle == "deadline" or seed % 2 else None
    power_w = dice.uniform(120, 400) if seed % 3 else None
    best = least_by_trying(rows, images, deadline_s, power_w, idle)
    if best is None:
        with pytest.raises(NoPlanError):
            plan_queue(rows, images, deadline_s, power_w, idle)
        return
    plan = plan_queue(rows, images, deadline_s, power_w, idle)
    assert plan.energy_j == pytest.approx(best, rel=1e-5)
    assert plan.gap == 0
    for work, wanted in images.items():
        assert sum(share.images for share in plan.shares if share.row.work == work) == wanted
    assert deadline_s is None or plan.time_s <= deadline_s + 1e-6
    assert power_w is None or plan.peak_w <= power_w + 1e-6


def test_a_deadline_just_inside_and_just_outside():
    rows, images = [row("a"), row("b", joules=150.0)], {"moth": 11}
    assert plan_queue(rows, images, 6.0).time_s == 6
    with pytest.raises(NoPlanError, match="need at least 6 s, and the deadline is 6 s"):
        plan_queue(rows, images, 5.999)


def test_a_power_budget_just_inside_and_just_outside():
    rows, images = [row("a"), row("b", joules=150.0)], {"moth": 10}
    assert len(plan_queue(rows, images, power_w=250.0, deadline_s=5.0).shares) == 2
    with pytest.raises(NoPlanError, match="at least 10 s with 249 W"):
        plan_queue(rows, images, power_w=249.0, deadline_s=5.0)
    [alone] = plan_queue(rows, images, power_w=110.0).shares
    assert alone.row.card == "a"
    with pytest.raises(NoPlanError, match="a budget of 109 W is not enough"):
        plan_queue(rows, images, power_w=109.0)


@pytest.mark.parametrize(("idle_w", "setting"), [(29.9, "350 W"), (30.1, "150 W")])
def test_race_to_idle_and_its_opposite(idle_w, setting):
    """Half as fast for 30 J more: it pays above 30 W of idling, as law.race_to_idle says."""
    rows = [
        row(setting="350 W", joules=100.0, seconds=1.0, idle_w=idle_w),
        row(setting="150 W", joules=130.0, seconds=2.0, idle_w=idle_w),
    ]
    [share] = plan_queue(rows, {"moth": 10}, 100.0, idle="deadline").shares
    assert share.row.setting == setting


def test_the_interval_of_shares_is_in_quadrature():
    plan = plan_queue([row("a"), row("b")], {"moth": 10}, 5.0)
    assert [share.images for share in plan.shares] == [5, 5]
    assert plan.half_width_j == pytest.approx((10**2 + 10**2) ** 0.5)


def test_what_no_plan_can_be_made_of():
    with pytest.raises(NoPlanError, match="no card has measured bee"):
        plan_queue([row()], {"bee": 1})
    with pytest.raises(UsageError, match="needs a deadline"):
        plan_queue([row()], {"moth": 1}, idle="deadline")
    with pytest.raises(UsageError, match="no idle power of Made a"):
        plan_queue([row(idle_w=None)], {"moth": 1})
    assert plan_queue([row(idle_w=None)], {"moth": 1}, idle="off").idle_j == 0


def test_rows_that_are_left_out_are_told():
    good, why = usable([row(), row(joules=None), row(is_broken=True)])
    assert len(good) == 1
    assert [text.rpartition(": ")[2] for text in why] == [
        "no time or no energy was measured",
        "its pictures are broken",
    ]


@pytest.fixture
def folder(tmp_path, make_run):
    runs = [make_run(f"r{n}", process_id=f"p{n}", visit=n) for n in range(3)]
    path = tmp_path / "card"
    path.mkdir()
    (path / "runs.jsonl").write_text("".join(f"{dumps(run)}\n" for run in runs), "utf-8")
    return path


def test_the_command_tells_who_makes_what_and_what_it_costs(folder, capsys):
    given = ["fleet", "plan", str(folder), "--images", "10000", "--price", "0.30", "--pue", "1.5"]
    assert cli.main(given) == 0
    told = capsys.readouterr().out
    assert "NVIDIA GeForce RTX 3090, 350 W (card)" in told
    assert "| 10000 |" in told
    # A batch of two takes 2400 J: 10 000 images 12 MJ.
    assert "3.333 kWh in 16.7 h" in told
    assert "1.5 EUR" in told
    assert cli.main([*given, "--deadline", "16"]) == 1
    assert "need at least 60000 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--images", "bee=10"], "'bee' means 0 of the measured works: moth.safetensors"),
        (["--images", "5", "--idle", "deadline"], "needs a deadline"),
    ],
)
def test_what_the_command_refuses(folder, capsys, arguments, words):
    assert cli.main(["fleet", "plan", str(folder), *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("text", ["x", "moth=0", "moth=1.5", "moth=-1"])
def test_images_are_whole_numbers(folder, text):
    with pytest.raises(SystemExit):
        cli.main(["fleet", "plan", str(folder), "--images", text])
