"""The result card and the comparison: what a user sees of a result without opening anything."""

from __future__ import annotations

import base64
import io

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect
from result_node import PLACES

from . import made_results

NO_METER = "no meter measures this board. `wattbench doctor` says what to do"

WIDTHS = """(figure) => [...figure.querySelectorAll("li .wattbench-track:has(.wattbench-bar)")]
    .map((track) => [...track.querySelectorAll(".wattbench-bar")]
        .reduce((sum, bar) => sum + bar.getBoundingClientRect().width, 0))"""

FITS = """(_, body) => {
    const { width } = body.getBoundingClientRect();
    return body.scrollWidth <= body.clientWidth && width > 300
        && body.scrollHeight === body.clientHeight;
}"""


def test_a_real_run_is_read_in_one_glance(shown, ran):
    glance = ran.result["glance"]
    card = shown.body.locator(".wattbench-card")
    expect(card).to_be_visible()
    seconds, joules = (
        next(one for one in glance["measures"] if one["name"] == name)["values"][0]["text"]
        for name in ("s_per_img", "j_per_img")
    )
    figures = card.locator(".wattbench-figures")
    expect(figures).to_contain_text(f"{seconds} s/img")
    expect(figures).to_contain_text(f"{joules} J/img")
    expect(figures).to_contain_text("estimate (estimated)")
    expect(card.locator(".wattbench-where")).to_have_text(glance["where"])
    expect(card.locator(".wattbench-why")).to_contain_text("the model ran on the CPU")
    picture = card.locator("img")
    expect(picture).to_be_visible()
    shown.wait_until("(_, body) => body.querySelector('.wattbench-card img').naturalWidth === 64")
    shown.wait_until(FITS)
    assert shown.page.evaluate(f"{shown.js}.size[1]") < 620


def test_conditions_stand_on_one_axis_and_the_winner_is_named(opened):
    opened.give(made_results.compared())
    card, comparison = (opened.body.locator(f".wattbench-{n}") for n in ("card", "comparison"))
    expect(card.locator(".wattbench-lead")).to_contain_text(
        "sage_2 takes 41.61 % less energy per image than sdpa ("
    )
    expect(card).to_contain_text("10.00 GiB")
    expect(card).to_contain_text("of 24.0 GiB")
    names = comparison.locator(".wattbench-name")
    assert [*dict.fromkeys(n for n in names.all_inner_texts() if n)] == ["sdpa", "sage_2"]
    expect(comparison.locator(".wattbench-best .wattbench-name")).to_have_text(["sage_2"])
    for button, places in (("Joules", [1201.5, 701.5]), ("Seconds", [6.0075, 3.5075])):
        comparison.get_by_role("button", name=button).press("Enter")
        pressed = comparison.locator("[aria-pressed=true]")
        expect(pressed).to_have_text(button)
        dots, bars = comparison.locator("figure").all()
        assert dots.evaluate(PLACES) == pytest.approx(places, rel=0.02)
        first, second = bars.evaluate(WIDTHS)
        assert second / first == pytest.approx(places[1] / places[0], rel=0.03)
        hovered = dots.locator("li").first.get_attribute("title")
        assert hovered.startswith("sdpa: ")
        assert "95 % interval" in hovered
    comparison.get_by_role("button", name="VRAM").press("Enter")
    expect(comparison.locator("figure")).to_have_count(1)
    opened.wait_until(FITS)


def test_what_cannot_be_told_apart_has_no_winner(opened):
    opened.give(made_results.compared(factor=1.0))
    expect(opened.body.locator(".wattbench-lead")).to_contain_text("cannot be told apart")
    expect(opened.body.locator(".wattbench-dot").first).to_be_visible()
    expect(opened.body.locator(".wattbench-best")).to_have_count(0)


def test_without_a_meter_the_card_says_so_once(opened):
    opened.give(made_results.unmeasured(NO_METER))
    expect(opened.body.locator(".wattbench-why")).to_have_text([f"— {NO_METER}"])
    assert opened.body.inner_text().count(NO_METER) == 1
    opened.unfold()
    line = opened.body.locator(".wattbench-unmeasured li", has_text=NO_METER)
    expect(line).to_contain_text("J/img, img/kWh, Energy from, Encode (J)")
    expect(opened.body.locator("td abbr")).to_have_count(0)


def test_what_failed_says_why_on_the_card(opened):
    opened.give(made_results.failed("OutOfMemoryError: no room"))
    card = opened.body.locator(".wattbench-card")
    expect(card.locator(".wattbench-lead")).to_have_text(
        "No run counts, so that there is no result."
    )
    expect(card.locator(".wattbench-trouble")).to_contain_text("3 failed of moth.safetensors")
    expect(card.locator(".wattbench-trouble")).to_contain_text("OutOfMemoryError: no room")
    expect(opened.body.locator(".wattbench-comparison")).to_have_count(0)


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_the_card_is_accessible(opened, palette):
    opened.frontend.paint(palette)
    opened.give(made_results.compared())
    opened.unfold()
    expect(opened.body.locator("table").first).to_be_visible()
    found = Axe().run(opened.page, context=".wattbench-result")
    assert found.violations_count == 0, found.generate_report()


COPIED = """async () => {
    const [item] = await navigator.clipboard.read();
    const blob = await item.getType("image/png");
    const bytes = new Uint8Array(await blob.arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""


def test_the_card_is_copied_as_a_picture(shown):
    shown.wait_until("(_, body) => body.querySelector('.wattbench-card img').complete")
    shown.body.get_by_role("button", name="Copy as image").press("Enter")
    expect(shown.body.get_by_role("status")).to_have_text("Copied.")
    with Image.open(io.BytesIO(base64.b64decode(shown.page.evaluate(COPIED)))) as picture:
        assert picture.width > 1000
        assert 400 < picture.height < 1600
        colours = picture.convert("RGB").getcolors(1 << 24)
    share = {colour: count / (picture.width * picture.height) for count, colour in colours}
    # The ground, the bar of denoising, and the random picture.
    assert max(share.values()) > 0.5
    assert share[(59, 130, 246)] > 0.002
    assert len(share) > 1000


def test_a_narrow_node_shows_it_whole(opened):
    opened.page.evaluate(f"{opened.js}.setSize([340, 200]), app.canvas.setDirty(true)")
    opened.wait_until("(_, body) => body.clientWidth < 340")
    opened.give(made_results.compared())
    opened.wait_until(
        """(_, body) => body.scrollWidth <= body.clientWidth
            && body.querySelector(".wattbench-track").getBoundingClientRect().width > 120"""
    )
