"""Tuning the open workflow from the WattBench tab, in ComfyUI's real frontend."""

from __future__ import annotations

import itertools
import json

import pytest
from frontend import CONTRASTS, PACK_URL
from graphs import picture
from playwright.sync_api import expect

SEEDS = itertools.count(90_000, 1000)
SEARCH_MS = 600_000

CANDIDATES = [
    {"candidate": "as it is", "ratio": None, "ratio_low": None, "ratio_high": None, "fault": ""},
    {
        "candidate": "attention=sage_2",
        "ratio": 0.7123,
        "ratio_low": 0.7,
        "ratio_high": 0.725,
        "fault": "",
    },
    {
        "candidate": "weights=<b>nf4</b>",
        "ratio": None,
        "ratio_low": None,
        "ratio_high": None,
        "fault": "out of memory",
    },
]
IMAGE = {
    "event": "image",
    "stage": "screening",
    "block": 2,
    "candidate": "attention=sage_2",
    "image": 2,
    "of": 3,
    "elapsed_s": 600,
    "budget_s": 1800,
    "time_s": 4.2,
    "energy_j": 812.0,
    "candidates": CANDIDATES,
}
SHOW = """async (told) => {
    const { createTunePanel } = await import("/extensions/wattbench/tune_view.js");
    const panel = createTunePanel((key) => key, () => "en", {});
    panel.offer({
        launch: [{ available: true }], attention: [{ available: true }], compile: [],
        weights: [{ available: false }, { available: true }],
    });
    panel.show(told);
    document.querySelector("#made-up")?.remove();
    panel.element.id = "made-up";
    document.body.append(panel.element);
}"""


@pytest.fixture
def page(uncomplaining):
    """Once: the tab is the same in both node renderers."""
    if uncomplaining.page.evaluate("LiteGraph.vueNodesMode"):
        pytest.skip("the tab draws no nodes: once, in the classic renderer, is enough")
    yield uncomplaining.page
    uncomplaining.page.evaluate("document.querySelector('#made-up')?.remove()")


def told(state, results=(), **events):
    return {"state": state, "folder": "x", "error": "", "events": events, "results": list(results)}


def test_candidates_come_and_go(page):
    page.evaluate(SHOW, told("running", image=IMAGE))
    panel = page.locator("#made-up")
    lines = panel.locator("tbody tr")
    expect(lines).to_have_count(3)
    texts = lines.locator("td").all_inner_texts()
    assert texts == ["—", "× 0.712 [0.700, 0.725]", "out: out of memory"]
    assert lines.nth(2).locator("th").inner_text() == "weights=<b>nf4</b>"
    expect(panel.locator(".wattbench-tune-current th")).to_have_text("attention=sage_2")
    expect(panel.get_by_role("progressbar")).to_be_visible()
    line = panel.locator(".wattbench-tune-line").inner_text()
    assert "attention=sage_2" in line and "2/3" in line and "812" in line
    assert panel.get_by_role("button").all_inner_texts() == ["cancel"]


def test_a_finished_search_offers_what_it_left(page):
    end = {"event": "end", "verdict": "Set attention=sage_2.", "candidates": CANDIDATES}
    page.evaluate(SHOW, told("done", ["report", "tuned"], image=IMAGE, end=end))
    panel = page.locator("#made-up")
    expect(panel.get_by_role("status")).to_have_text("state_done Set attention=sage_2.")
    names = panel.get_by_role("button").all_inner_texts()
    assert names == ["begin", "open_report", "load_tuned"]
    assert [box.get_attribute("value") for box in panel.get_by_role("checkbox").all()] == [
        "attention",
        "weights",
    ]
    expect(panel.get_by_role("progressbar")).to_be_hidden()


def test_the_open_workflow_is_tuned(page, uncomplaining):
    uncomplaining.load(picture(next(SEEDS)), "tuning")
    page.evaluate("app.extensionManager.command.execute('WattBench.Tune')")
    panel = page.get_by_role("region", name="Tune this workflow")
    begin = panel.get_by_role("button", name="Tune", exact=True)
    expect(begin).to_be_focused()
    expect(panel.get_by_role("checkbox").first).to_be_visible()
    for box in panel.get_by_role("checkbox").all():
        box.set_checked(box.get_attribute("value") == "vae_attention")
    panel.get_by_role("spinbutton").fill("0")
    begin.click()
    expect(panel.get_by_role("status")).to_contain_text("minutes from 1 to 1440")
    panel.get_by_role("spinbutton").fill("1")
    begin.click()
    expect(panel.get_by_role("progressbar")).to_be_visible()
    expect(panel.locator("tbody tr")).to_have_count(2, timeout=SEARCH_MS)
    uncomplaining.paint("light")
    assert [found for found in panel.evaluate(CONTRASTS) if found[1] < 4.5] == []
    uncomplaining.paint("dark")
    assert [found for found in panel.evaluate(CONTRASTS) if found[1] < 4.5] == []
    report = panel.get_by_role("button", name="Open the report")
    expect(report).to_be_visible(timeout=SEARCH_MS)
    expect(panel.get_by_role("status")).to_contain_text("Done.")
    with page.expect_popup() as opened:
        report.click()
    expect(opened.value.get_by_role("heading", level=1)).to_have_text("WattBench report")
    opened.value.close()


def test_the_tuned_workflow_is_loaded(page, uncomplaining):
    uncomplaining.load(picture(next(SEEDS)), "before")
    workflow = page.evaluate("app.rootGraph.serialize()")
    workflow["nodes"][0]["title"] = "a tuned node"
    page.route("**/wattbench/tune/tuned", lambda route: route.fulfill(body=json.dumps(workflow)))
    state = json.dumps(told("done", ["tuned"]))
    page.route("**/wattbench/tune", lambda route: route.fulfill(body=state))
    page.evaluate(f"import('{PACK_URL}tune.js').then((tune) => tune.follow())")
    page.evaluate("app.extensionManager.command.execute('WattBench.Tune')")
    page.get_by_role("button", name="Load the tuned workflow").click()
    page.wait_for_function("app.rootGraph.nodes.some((node) => node.title === 'a tuned node')")
    page.unroute_all()
