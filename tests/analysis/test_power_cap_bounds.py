"""Power caps at the bounds of what is said of them."""

from dataclasses import replace

import pytest

from wattbench.analysis.power_caps import analyse, verdicts
from wattbench.report import runs_frame


@pytest.fixture
def sweep_of(make_run):
    """A function that makes the sweep of ``(cap, joules of each run)`` blocks, the first first."""

    def make(*blocks, mean_w=None, **condition):
        runs, labels = [], []
        for number, (cap_w, energies_j) in enumerate(blocks):
            for energy_j in energies_j:
                run = make_run(f"{len(runs)}")
                changed = replace(run.condition, **condition)
                energy = replace(run.energy, energy_j=2 * energy_j)
                runs.append(replace(run, condition=changed, energy=energy))
                labels.append((number, float(cap_w)))
        frame = runs_frame(runs).assign(block=[b for b, _ in labels], cap_w=[c for _, c in labels])
        return frame if mean_w is None else frame.assign(mean_power_w=mean_w)

    return make


@pytest.mark.parametrize(("caps", "confidence"), [(2, 0.95), (3, 0.975), (6, 0.99)])
def test_intervals_widen_so_that_all_hold_together(sweep_of, caps, confidence):
    blocks = [(350 - 10 * number, (100.0, 101.0)) for number in range(caps)]
    [sweep] = analyse(sweep_of(*blocks), 350.0)
    for cap in sweep.caps[1:]:
        assert cap.energy_ratio.confidence == pytest.approx(confidence)
        assert cap.energy.confidence == 0.95


@pytest.mark.parametrize(("mean_w", "is_named"), [(314.9, True), (315.0, False), (315.1, False)])
def test_a_mean_more_than_ten_percent_below_the_cap_is_named(sweep_of, mean_w, is_named):
    [sweep] = analyse(sweep_of((350, (100.0, 100.0)), mean_w=mean_w), 350.0)
    assert sweep.caps[0].power_w == mean_w
    assert ("stayed more than 10 % below the cap at 350 W" in "".join(verdicts(sweep))) == is_named


def test_an_interval_that_just_reaches_zero_may_be_chance(sweep_of):
    """Not a joule of difference; of equals, the lower cap is named."""
    [sweep] = analyse(sweep_of((350, (100.0, 100.0)), (300, (100.0, 100.0))), 350.0)
    ratio = sweep.best.energy_ratio
    assert (sweep.best.cap_w, ratio.ci_low, ratio.ci_high) == (300.0, 1.0, 1.0)
    assert next(verdicts(sweep)).endswith("reaches zero: this may be chance.")


def test_conditions_that_lack_a_value_have_a_sweep_too(sweep_of):
    """As a flow model without cfg. Conditions stand in the order in which they were measured."""
    blocks = ((350, (100.0, 101.0)), (300, (90.0, 92.0)))
    import pandas as pd

    frame = pd.concat(
        [
            sweep_of(*blocks, cfg=None, steps=50),
            sweep_of(*blocks, cfg=7.0, steps=9),
            sweep_of(*blocks, cfg=1.0, steps=20),
        ],
        ignore_index=True,
    )
    sweeps = analyse(frame, 350.0)
    assert [sweep.condition.split("normal, ")[1] for sweep in sweeps] == [
        "50 steps",
        "9 steps, cfg 7",
        "20 steps, cfg 1",
    ]
    for sweep in sweeps:
        assert sweep.best.energy_ratio.n == 2
        assert sweep.best.energy.n == 2
        assert sweep.best.energy_ratio.value == pytest.approx((90 * 92 / (100 * 101)) ** 0.5)
