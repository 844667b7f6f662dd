"""Shares of FLOPs, against those counted over ComfyUI's SDXL on the meta device."""

import pytest

from wattbench.law.flop import FORMULAS
from wattbench.law.flop.shares import flop_shares, share_note

LINEAR, ATTENTION, CONVOLUTIONS = 4.3542e12, 0.7839e12, 1.6231e12
"""Counted with hooks on the layers, for one picture of 1024 x 1024 and 77 rows of text."""


def test_shares_of_sdxl():
    total = LINEAR + ATTENTION + CONVOLUTIONS
    counted = (LINEAR / total, ATTENTION / total, CONVOLUTIONS / total)
    assert flop_shares("sdxl") == pytest.approx(counted, rel=1e-3)


@pytest.mark.parametrize("architecture", FORMULAS)
def test_shares_are_of_all_flops(architecture):
    shares = flop_shares(architecture)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0
    assert 1 < shares.gain_at_twice < 2


def test_the_note_tells_shares_and_the_gain():
    note = share_note("sdxl")
    assert "64% of the FLOPs of sdxl" in note
    assert note.endswith("would be 1.47 times as fast.")


def test_an_architecture_without_a_formula_is_refused():
    with pytest.raises(ValueError, match="no formula for 'sdxxl'"):
        share_note("sdxxl")
