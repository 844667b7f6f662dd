"""The page of the history in a real browser: silent, alone, accessible, by keyboard."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from wattbench.report.timeline import as_timeline

from ..report.made_history import history


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    page = tmp_path_factory.mktemp("timeline") / "timeline.html"
    page.write_text(as_timeline(history()), "utf-8")
    return page


def test_prompts_are_compared_in_time_and_by_node(open_file, path):
    page = open_file(path)
    lanes = page.locator(".lane")
    expect(lanes).to_have_count(1)
    for began in ("00:12:05", "00:10:05"):
        page.get_by_role("checkbox", name=f"2026-12-01 {began} UTC").check()
    page.get_by_role("checkbox", name="00:13:05").uncheck()
    expect(lanes.locator("h3")).to_have_text(
        ["2026-12-01 00:10:05 UTC: 5.26 s, 1170 J", "2026-12-01 00:12:05 UTC: 4.3 s, 900 J"]
    )
    first, second = (
        lane.get_by_role("button", name="KSampler #4").bounding_box() for lane in lanes.all()
    )
    assert second["width"] / first["width"] == pytest.approx(1 / 1.3, rel=0.02)
    sampler = page.locator("#compared tr", has_text="KSampler #4").locator("td")
    expect(sampler).to_have_text(["3.12 s", "936 J", "2.4 s (-23\u00a0%)", "720 J (-23\u00a0%)"])
    lanes.last.get_by_role("button").first.focus()
    for key, told in (
        ("ArrowRight", "Positive #2: 0.15 s (3.49 %), peak 8 GiB, loaded SDXLClipModel 1.5 GiB"),
        ("End", "SaveImage #6: 0.2 s (4.65 %), 60 J, peak 8 GiB"),
        ("ArrowLeft", "VAEDecode #5: 0.5 s (11.6 %), 150 J, peak 8 GiB"),
    ):
        page.keyboard.press(key)
        expect(page.get_by_role("status")).to_have_text(told)
    assert lanes.last.locator("[tabindex='0']").count() == 1


@pytest.mark.parametrize(("width_px", "scheme"), [(1100, "light"), (360, "dark")])
def test_it_is_accessible_in_both_themes_and_narrow(open_file, path, width_px, scheme):
    page = open_file(path, width_px, scheme)
    page.get_by_role("checkbox").last.check()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px


def test_its_table_is_there_without_scripts(open_file, path):
    page = open_file(path, java_script_enabled=False)
    expect(page.locator("tbody tr")).to_have_count(4)
    expect(page.get_by_text("In time")).to_be_hidden()
