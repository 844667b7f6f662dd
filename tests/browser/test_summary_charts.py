"""The charts of Show Summary."""

from __future__ import annotations

import made_up
import pytest
from playwright.sync_api import expect


def test_a_run_fills_the_charts(shown, ran):
    (series,) = ran.result["series"]
    figures = shown.body.locator("figure")
    texts = figures.all_inner_texts()
    assert [text.split(":")[0].splitlines()[0] for text in texts] == [
        "Time of the phases, mean of the repeats",
        "Energy of the phases, mean of the repeats",
        "img/s",
        "J/img",
    ]
    assert len(series["step_times_s"]) == 1
    assert [phase["name"] for phase in series["phases"]] == [
        "load",
        "text_encode",
        "denoise",
        "decode",
    ]
    # What is drawn is as wide as what was measured.
    bar = figures.nth(0).locator("svg").first
    widths = [float(part.get_attribute("width")) for part in bar.locator("rect").all()]
    times = [phase["time_s"] for phase in series["phases"]]
    expected = [240 * time_s / sum(times) for time_s in times]
    assert widths == pytest.approx(expected, abs=1.1)


def test_charts_draw_what_they_say(opened):
    rows = made_up.SUMMARY["rows"][:1]
    opened.give({**made_up.SUMMARY, "rows": rows, "series": [made_up.SERIES]})
    figures = opened.body.locator("figure")
    times, energies, steps, repeats = figures.all_inner_texts()
    assert times.splitlines()[1:] == ["Loading", "Denoising", "Decoding"]
    assert energies.splitlines()[1:] == ["Denoising", "Decoding"]
    assert steps == (
        "Time of each step, from 0; steps: 3, mean 750 ms, shortest 500 ms, longest 1.00 s"
    )
    points = figures.nth(2).locator("polyline").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    assert (heights[0] - heights[2]) == pytest.approx(heights[2] - heights[1])
    assert repeats == (
        "img/s: 2.00 (95 % interval: 0.00 \u2013 4.00), repeats: 2, 1.00 \u2013 3.00"
    )
    low, high = (float(dot.get_attribute("cy")) for dot in figures.nth(3).locator("circle").all())
    band = figures.nth(3).locator("rect")
    top, height = (float(band.get_attribute(name)) for name in ("y", "height"))
    assert low - top == pytest.approx(0.75 * height, abs=0.2)
    assert high - top == pytest.approx(0.25 * height, abs=0.2)


def test_charts_of_many_conditions_are_folded_and_open_by_keyboard(opened):
    opened.give({**made_up.SUMMARY, "series": [made_up.SERIES] * 5})
    fold = opened.body.locator("details")
    expect(fold).to_have_count(1)
    expect(fold.locator("figure").first).not_to_be_visible()
    fold.locator("summary").press("Enter")
    expect(fold.locator("figure").first).to_be_visible()
    assert fold.locator("h4").all_inner_texts() == [row[0] for row in made_up.SUMMARY["rows"]]
