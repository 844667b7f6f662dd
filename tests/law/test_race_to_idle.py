"""Run fast and wait, or run slowly: the model by hand and on the published cards."""

import math

import pandas as pd
import pytest

from wattbench.law.data import EDGE_NODES_CSV
from wattbench.law.race_to_idle import (
    CapPoint,
    energy_with_idle,
    idle_power_that_pays,
    period,
    points_of_runs,
    points_of_study,
)
from wattbench.stats import estimate

FAST = CapPoint("350 W", estimate([3000.0, 3010.0, 2990.0], "J/img"), 10.0, "")
SLOW = CapPoint("180 W", estimate([3200.0], "J/img"), 20.0, "")


def test_waiting_costs_idle_power():
    assert period([FAST, SLOW], 0.75) == 40.0
    assert energy_with_idle(FAST, 40.0, 25.0) == 3000 + 25 * 30
    assert energy_with_idle(SLOW, 40.0, 25.0) == 3200 + 25 * 20
    assert energy_with_idle(SLOW, 15.0, 25.0) is None
    assert FAST.power_w == 300.0


@pytest.mark.parametrize("share", [0.5, 0.6, 0.9])
def test_the_turning_point_does_not_depend_on_the_idle_share(share):
    """200 J more in 10 s more: it pays above 20 W."""
    watts, half = idle_power_that_pays(FAST, SLOW)
    assert watts == pytest.approx(20.0)
    assert math.isnan(half)
    every_s = period([FAST, SLOW], share)
    for idle_w, slow_is_cheaper in ((19.0, False), (21.0, True)):
        costs = [energy_with_idle(point, every_s, idle_w) for point in (FAST, SLOW)]
        assert (costs[1] < costs[0]) is slow_is_cheaper


def test_the_published_card_is_near_its_cap():
    """2677 and 2885 J per image; the capped card draws about 180 W, at half the speed."""
    fast, slow = points_of_study("sdxl-illustrious", EDGE_NODES_CSV)
    assert fast.energy.value == pytest.approx(3.6e6 / 1344.95)
    assert fast.energy.half_width == pytest.approx(2.262 * 2676.7 * 6.81 / 1344.95 / 10**0.5, 1e-3)
    assert (fast.energy.unit, fast.energy.confidence, fast.energy.n) == ("J/img", 0.95, 10)
    assert fast.label != slow.label
    assert fast.source.startswith("published, ")
    assert slow.power_w == pytest.approx(180, rel=0.03)
    watts, half = idle_power_that_pays(fast, slow)
    assert watts == pytest.approx(208.0 / 8.219, rel=0.01)
    assert half == pytest.approx(math.hypot(48.4, 9.7) / 8.219, rel=0.02)
    fast, slow = points_of_study("z-image-turbo", EDGE_NODES_CSV)
    assert idle_power_that_pays(fast, slow)[0] < 0


def runs_table(**changes):
    rows = [
        {
            "condition": "c", "gpu_name": "RTX 3090", "energy_meter": "nvml:0",
            "energy_method": "counter", "is_warmup": warm, "error": None, "power_limit_w": limit,
            "j_per_img": joules, "img_per_s": speed, "process_id": "a",
        }
        for limit, joules, speed, warm in (
            (350.0, 2700.0, 0.1, False), (350.0, 2720.0, 0.1, False), (350.0, 9000.0, 0.1, True),
            (200.0, 2500.0, 0.05, False), (None, 1.0, 1.0, False),
        )
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**changes)


def test_points_of_ones_own_runs():
    slow, fast = points_of_runs(runs_table())
    assert (slow.label, slow.energy.value, slow.time_s) == ("200 W", 2500.0, 20.0)
    assert (fast.label, fast.energy.value, fast.energy.n) == ("350 W", 2710.0, 2)
    assert fast.source == "2 runs (counter)"
    assert fast.energy.unit == "J/img"


@pytest.mark.parametrize("column", ["process_id", "visit"])
def test_over_processes_a_cap_has_their_means(column):
    rows = pd.concat([runs_table(process_id=1), runs_table(process_id=2)])
    points = points_of_runs(rows.rename(columns={"process_id": column}))
    assert [point.energy.n for point in points] == [2, 2]


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="several values of condition: a, b"):
        points_of_runs(runs_table(condition=["a", "b", "a", "a", "a"]))
    with pytest.raises(ValueError, match="no run has a power limit"):
        points_of_runs(runs_table(power_limit_w=None))
    with pytest.raises(ValueError, match="it lacks is_warmup, error"):
        points_of_runs(runs_table().drop(columns=["is_warmup", "error"]))
    with pytest.raises(ValueError, match="no workload 'flux'"):
        points_of_study("flux", EDGE_NODES_CSV)
    with pytest.raises(ValueError, match="is not slower"):
        idle_power_that_pays(SLOW, FAST)
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match="idle share"):
            period([FAST], share)
