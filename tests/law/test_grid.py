"""Where and when images cost least: by hand, and what is no table of hours."""

import pytest

from wattbench.law.data import LawDataError
from wattbench.law.grid import choose, read_hours
from wattbench.records import Prediction

KWH = Prediction(3.6e6, 1.8e6, 7.2e6, 0.9, "J", "a law")
"""An image of a kilowatt-hour."""

TABLE = """site,hour,g_per_kwh,price_per_kwh,pue
Manaus,0,300,0.5,1
Manaus,1,100,0.3,1
Manaus,2,120,,1
Porto,0,200,0.2,
Porto,1,90,0.2,1.5
"""


@pytest.fixture
def hours(tmp_path):
    """A function that reads a table of hours."""

    def read(text=TABLE):
        path = tmp_path / "grid.csv"
        path.write_text(text, "utf-8")
        return read_hours(path)

    return read


def test_the_best_hour_of_each_site(hours):
    """Porto's second hour is 90 g times a PUE of 1.5; ten images are ten kilowatt-hours."""
    manaus, porto = choose(hours(), KWH, 10, None)
    assert (manaus.best.site, manaus.best.start, manaus.best.end) == ("Manaus", "1", "1")
    assert manaus.best.grams == (1000, 500, 2000)
    assert manaus.best.price == pytest.approx(3)
    assert (manaus.worst.start, manaus.worst.grams[0]) == ("0", 3000)
    assert manaus.mean_grams == pytest.approx((3000 + 1000 + 1200) / 3)
    assert porto.best.grams[0] == pytest.approx(1350)
    assert porto.best.price == pytest.approx(10 * 1.5 * 0.2)


def test_images_that_take_longer_want_hours_in_a_row(hours):
    """7200 s are two hours, one more second is a third, which Porto has not."""
    manaus, porto = choose(hours(), KWH, 10, 720.0)
    assert (manaus.best.start, manaus.best.end) == ("1", "2")
    assert manaus.best.grams[0] == pytest.approx(5 * 100 + 5 * 120)
    assert manaus.best.price is None, "the price of one of its hours is not known"
    assert porto.best.grams[0] == pytest.approx(5 * 200 + 5 * 135)
    [alone] = choose(hours(), KWH, 10, 720.1)
    assert (alone.best.start, alone.best.end) == ("0", "2")
    with pytest.raises(LawDataError, match="take 4 hours, and no site"):
        choose(hours(), KWH, 10, 1080.1)


def test_the_least_comes_first(hours):
    swapped = hours(TABLE.replace("Porto,1,90", "Porto,1,10"))
    assert [site.best.site for site in choose(swapped, KWH, 1, None)] == ["Porto", "Manaus"]


def test_prices_and_pue_may_be_missing(hours):
    [site] = choose(hours("site,hour,g_per_kwh\nA,2026-11-30T00,0\n"), KWH, 1, None)
    assert (site.best.start, site.best.grams, site.best.price) == ("2026-11-30T00", (0, 0, 0), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("site,hour\nA,0\n", "lacks the columns g_per_kwh"),
        ("site,hour,g_per_kwh\nA,0,-0.1\n", "line 2 of the grid: g_per_kwh"),
        ("site,hour,g_per_kwh\nA,0,1\nA,1,inf\n", "line 3 of the grid: g_per_kwh"),
        ("site,hour,g_per_kwh\nA,0,\n", "line 2 of the grid: g_per_kwh"),
        ("site,hour,g_per_kwh\n,0,1\n", "no site or no hour"),
        ("site,hour,g_per_kwh,pue\nA,0,1,0.99\n", "pue must be a number of at least 1"),
        ("site,hour,g_per_kwh,price_per_kwh\nA,0,1,free\n", "price_per_kwh must be a number"),
        ("site,hour,g_per_kwh\n", "no row"),
    ],
)
def test_what_is_no_table_of_hours_is_told(hours, text, message):
    with pytest.raises(LawDataError, match=message):
        hours(text)
