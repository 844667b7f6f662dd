"""A forecast is the law's own prediction per image, or blank with the reason."""

import time
from dataclasses import replace

import pytest

from wattbench import law
from wattbench.law.cost import Tariff
from wattbench.law.flop import flop_count
from wattbench.law.forecast import interval_text, scaled
from wattbench.records import Condition, Prediction

from .plans import frame_of

CONDITION = Condition(
    "flux", "flux.safetensors", "file", "sdpa", "bf16", 768, 512, 1, 20, 1.0, "euler", "normal"
)


@pytest.fixture(scope="module")
def a100():
    return law.card_named("A100")


def test_one_prediction_is_a_row_of_the_table_of_predictions(a100):
    """The quick way without a frame and the frame's way are the same law."""
    for architecture, width, steps, options in (
        ("flux", 768, 20, {}),
        ("sdxl", 1024, 30, {"cfg": 7.0, "batch_size": 3}),
        ("sd35", 512, 28, {"dtype": "fp32", "sampler": "heun"}),
    ):
        shape = (architecture, "A100", width, width, steps)
        row = a100.laws["J"].predict(frame_of(*shape, **options)).iloc[0]
        one = a100.laws["J"].predict_one(law.planned(*shape, **options))
        assert one[:3] == pytest.approx((row["value"], row["low"], row["high"]))
        assert one[3] == row["note"]


def test_a_forecast_is_per_image_and_keeps_the_runs_joules(a100):
    made = law.forecast_run(replace(CONDITION, batch_size=4), 20, a100)
    frame = frame_of("flux", "A100", 768, 512, 20, batch_size=4)
    whole = a100.laws["J"].predict(frame).iloc[0]
    assert made.energy_per_img.value == pytest.approx(whole["value"] / 4)
    assert made.energy.value == pytest.approx(whole["value"])
    assert made.energy.high == pytest.approx(whole["high"])
    assert made.flop_count == flop_count("flux", 768, 512, 20, batch_size=4).total
    assert made.energy.source == "operator law of A100, net of idle power"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": "wan21"}, "no formula for 'wan21'"),
        ({"sampler": "dpm_adaptive"}, "chooses its own steps"),
        ({"sampler": "my_sampler"}, "is not known here"),
        ({"width_px": 1001}, "multiple of 8"),
        ({"width_px": None}, "multiple of 8"),
    ],
)
def test_without_flops_there_is_nothing(a100, change, reason):
    made = law.forecast_run(replace(CONDITION, **change), 20, a100)
    assert (made.flop_count, made.energy_per_img, made.energy) == (None, None, None)
    assert made.notes[0].startswith("no forecast: ")
    assert reason in made.notes[0]


def test_without_a_card_or_a_format_there_are_flops_only(a100):
    flops = flop_count("flux", 768, 512, 20).total
    no_card = law.forecast_run(CONDITION, 20, None, "nobody measured it")
    assert (no_card.flop_count, no_card.energy) == (flops, None)
    assert no_card.notes == ("no forecast of energy: nobody measured it",)
    int8 = law.forecast_run(replace(CONDITION, weight_format="int8_tensorwise"), 20, a100)
    assert (int8.flop_count, int8.energy) == (flops, None)
    assert "no data of the dtype int8_tensorwise" in int8.notes[0]


def test_the_sentence_has_units_interval_and_source(a100):
    made = law.forecast_run(CONDITION, 20, a100)
    energy = made.energy_per_img
    first, grams, money, flops, *notes = law.sentence(made, Tariff(100.0, 0.5)).splitlines()
    assert first == (
        f"{interval_text(energy)} per image, {energy.value / 3600:.3g} Wh, by the operator law of "
        "A100, net of idle power."
    )
    assert " g CO2e per image" in grams and " per 1000 images (" in grams
    assert " EUR per image" in money
    assert flops == f"{made.flop_count / 1e12:,.4g} TFLOP for the whole run."
    assert notes[0].startswith("From 280 published rows of one A100")


def test_time_has_a_price_where_it_is_known(a100):
    """Half an hour an image at 4 EUR an hour are 2 EUR, from 1 to 3 with the time's interval."""
    made = law.forecast_run(CONDITION, 20, a100)
    time = Prediction(1800.0, 900.0, 2700.0, 0.9, "s", "runs")
    tariff = Tariff(None, 0.5, price_per_hour=4.0)
    lines = law.sentence(replace(made, duration_per_img=time), tariff).splitlines()
    assert (
        "2.00 EUR for time per image, 2000 per 1000 images (1000 to 3000), this device" in lines[2]
    )
    assert "EUR in all per image" in lines[3]
    assert "No price of time" in law.sentence(made, tariff)
    assert "price of time" not in law.sentence(made, Tariff(None, 0.5))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.000123456, "0.000123"), (9.999, "10.0"), (812.4, "812"), (12345.0, "12300")],
)
def test_three_figures(value, text):
    assert interval_text(Prediction(value, value, value, 0.9, "J", "")).split()[0] == text


def test_scaling_keeps_what_it_is():
    one = Prediction(2.0, 1.0, 3.0, 0.9, "s", "x")
    assert scaled(one, 4) == Prediction(8.0, 4.0, 12.0, 0.9, "s", "x")


def test_a_forecast_is_quick():
    """A few milliseconds of the processor at its best; a slow machine has ten times as many."""
    times = []
    for _ in range(30):
        start_s = time.thread_time()
        card = law.card_of("NVIDIA GeForce RTX 3090")
        law.sentence(law.forecast_run(CONDITION, 20, card), Tariff(100.0, 0.3))
        times.append(time.thread_time() - start_s)
    assert min(times) < 20e-3
