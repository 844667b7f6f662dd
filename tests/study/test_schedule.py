"""Orders of visits: the same for the same seed, fair under drift."""

from itertools import islice
from statistics import fmean

import pytest

from wattbench.study.schedule import blocks, visits

CELLS = ("sdpa", "sage", "auto", "fp8")


def test_each_second_block_is_the_mirror_image_of_the_one_before():
    first, second, third, fourth = islice(blocks(CELLS, 3), 4)
    assert second == first[::-1]
    assert fourth == third[::-1]
    assert sorted(first) == sorted(CELLS)


def test_the_seed_decides_the_order():
    assert visits(CELLS, 5, 6) == visits(CELLS, 5, 6)
    assert visits(CELLS, 5, 6) != visits(CELLS, 6, 6)


def test_every_cell_is_visited_once_in_each_block():
    made = visits(CELLS, 1, 5)
    assert len({visit.name for visit in made}) == len(made) == 20
    assert {(v.cell, v.block) for v in made} == {(c, b) for c in CELLS for b in range(5)}


@pytest.mark.parametrize("seed", range(20))
def test_a_linear_drift_cancels_over_pairs_of_blocks(seed):
    """4 % of drift over the study leaves less than 0.3 % between any two cells."""
    made = visits(CELLS, seed, 6)
    cost = {cell: [] for cell in CELLS}
    for place, visit in enumerate(made):
        cost[visit.cell].append(1 + 0.04 * place / len(made))
    means = [fmean(values) for values in cost.values()]
    assert max(means) / min(means) - 1 < 0.003


def test_nothing_to_order_is_refused():
    with pytest.raises(ValueError, match="no cell"):
        next(blocks((), 1))
