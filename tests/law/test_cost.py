"""Energy to greenhouse gas and money, with units."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.law.cost import Tariff, emissions_g, price

AMOUNTS = st.floats(0, 1e9)


def test_a_kwh_costs_what_a_kwh_costs():
    assert emissions_g(3.6e6, 98.0) == 98.0
    assert price(3.6e6, 0.25) == 0.25
    assert Tariff(98.0, 0.25, "EUR").costs(7.2e6) == {"g CO2e": 196.0, "EUR": 0.5}


@given(AMOUNTS, AMOUNTS, st.floats(0, 5000))
def test_costs_add_up_and_grow_with_energy(first, second, rate):
    for cost in (emissions_g, price):
        assert cost(first + second, rate) == pytest.approx(
            cost(first, rate) + cost(second, rate), rel=1e-9
        )
        assert cost(first + second, rate) >= cost(first, rate)


def test_only_what_is_known_is_told():
    assert Tariff().costs(1.0) == {}
    assert set(Tariff(grid_intensity_g_per_kwh=0.0).costs(1.0)) == {"g CO2e"}
    assert set(Tariff(price_per_kwh=0.3, currency="R$").costs(1.0)) == {"R$"}


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_what_is_no_rate_is_refused(value):
    for make in (
        lambda: emissions_g(1.0, value),
        lambda: price(1.0, value),
        lambda: Tariff(value),
        lambda: Tariff(None, value),
    ):
        with pytest.raises(ValueError, match="per kWh must be 0 or more"):
            make()


def test_which_rate_is_wrong_is_said():
    with pytest.raises(ValueError, match="grid intensity"):
        Tariff(-1.0)
    with pytest.raises(ValueError, match="price"):
        Tariff(None, -1.0)


@pytest.mark.parametrize("name", ["", "a b", "<img>", "much too long"])
def test_a_currency_is_a_short_word(name):
    with pytest.raises(ValueError, match="currency must be a short word"):
        Tariff(currency=name)
