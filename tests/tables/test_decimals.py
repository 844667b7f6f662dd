"""Numbers in tables and sentences: never an exponent."""

import math

import pytest

from wattbench.tables.decimals import in_figures, with_half_width


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.000123456, "0.000123"),
        (-812.4, "-812"),
        (12345.0, "12300"),
        (0.09996, "0.100"),
        (99.96, "100"),
        (0.5, "0.500"),
    ],
)
def test_significant_figures(value, text):
    assert in_figures(value, 3) == text


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (1.4999, 0.123, "1.50 ± 0.12"),
        (23968.04, 635.3, "24000 ± 600"),
        (45644, 8714, "46000 ± 9000"),
        (10176, 9420, "10000 ± 9000"),
        (1234.5, 35.4, "1234 ± 35"),
        (1234.5, 35.6, "1230 ± 40"),
        (1234.5, 9.94, "1234.5 ± 9.9"),
        (1234.5, 10.0, "1234 ± 10"),
        (1234.5, 97.0, "1230 ± 100"),
        (123.4, 9.96, "123 ± 10"),
        (9.99, 0.0996, "9.99 ± 0.10"),
        (9.99, 0.0994, "9.990 ± 0.099"),
        (3.0, 0.996, "3.0 ± 1.0"),
        (-0.05, 0.2, "-0.05 ± 0.20"),
        (12.0, 0.0, "12.00 ± 0.00"),
        (0.99950024987506, 3.3e-16, "0.9995 ± 0.0000"),
        (12345.6, math.nan, "12346"),
        (0.0, math.nan, "0"),
    ],
)
def test_a_mean_shows_as_much_as_its_interval_allows(mean, half, text):
    assert with_half_width(mean, half) == text
