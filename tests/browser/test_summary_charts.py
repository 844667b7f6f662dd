"""The charts of Show Summary."""

from __future__ import annotations

import made_up
import pytest
from playwright.sync_api import expect

from . import made_results


def test_a_run_fills_the_charts(shown, ran):
    shown.body.locator("summary", has_text="Steps and repeats").press("Enter")
    (series,) = ran.result["series"]
    figures = shown.body.locator(".wattbench-plots figure")
    expect(figures.first).to_be_visible()
    assert [text.split(":")[0] for text in figures.all_inner_texts()] == ["img/s", "J/img"]
    assert len(series["step_times_s"]) == 1


def test_charts_draw_what_they_say(opened):
    runs = [made_up.SERIES, made_up.SERIES]
    opened.give({**made_results.compared(), "series": runs})
    opened.unfold()
    plots = opened.body.locator(".wattbench-plots")
    assert plots.locator("h4").all_inner_texts() == ["sdpa", "sage_2"]
    figures = plots.first.locator("figure")
    steps, repeats = figures.all_inner_texts()
    assert steps == (
        "Time of each step, from 0; steps: 3, mean 750 ms, shortest 500 ms, longest 1.00 s"
    )
    points = figures.nth(0).locator("polyline").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    assert (heights[0] - heights[2]) == pytest.approx(heights[2] - heights[1])
    assert repeats == (
        "img/s: 2.00 (95 % interval: 0.00 \u2013 4.00), repeats: 2, 1.00 \u2013 3.00"
    )
    low, high = (float(dot.get_attribute("cy")) for dot in figures.nth(1).locator("circle").all())
    band = figures.nth(1).locator("rect")
    top, height = (float(band.get_attribute(name)) for name in ("y", "height"))
    assert low - top == pytest.approx(0.75 * height, abs=0.2)
    assert high - top == pytest.approx(0.25 * height, abs=0.2)
