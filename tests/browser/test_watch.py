"""What each node cost, in ComfyUI's real frontend: the table of Watch Graph, and the badges."""

from __future__ import annotations

import itertools
import re
import uuid

import pytest
from frontend import CONTRASTS
from graphs import picture, watched_picture
from playwright.sync_api import expect
from result_node import ResultNode

NODE = "app.rootGraph.nodes.find((n) => n.type === '{}')"
BADGES = """() => {
    const onCanvas = (node) => node.badges
        .map((badge) => (typeof badge === "function" ? badge() : badge))
        .filter((badge) => badge.bgColor === "#1f3a5f")
        .map((badge) => badge.text);
    const onElement = (node) => [
        ...document.querySelectorAll(`[data-node-id="${node.id}"] > .wattbench-node-badge`),
    ].map((badge) => badge.textContent);
    const texts = LiteGraph.vueNodesMode ? onElement : onCanvas;
    return app.canvas.graph.nodes.map((node) => [node.type, texts(node)]);
}"""
BADGES_SETTING = "WattBench.Watch.Badges"
SEEDS = itertools.count(1)
"""So that no two pictures meet in ComfyUI's cache."""


@pytest.fixture(scope="module")
def ran(frontend):
    """A real run with Watch Graph."""
    return ResultNode(frontend, "WattBenchWatchGraph", "wattbench_watch").run(
        watched_picture(next(SEEDS))
    )


@pytest.fixture
def opened(uncomplaining):
    """Watch Graph in view, not run yet."""
    node = ResultNode(uncomplaining, "WattBenchWatchGraph", "wattbench_watch")
    node.open(watched_picture(seed=0), "watch")
    return node


def test_the_table_has_a_row_for_each_node(shown, ran):
    rows = shown.body.locator("tbody tr")
    expect(rows).to_have_count(len(watched_picture(seed=0)) + 1)
    names = rows.locator("th").all_inner_texts()
    assert names[0] == "Whole prompt"
    assert {name.rpartition("#")[2] for name in names[1:]} == set(watched_picture(seed=0))
    sampler = rows.filter(has=shown.page.locator("th", has_text="KSampler #4"))
    time, energy, vram = sampler.locator("td").all_inner_texts()
    assert re.fullmatch(r"[\d.]+ m?s \(\d+ %\)", time)
    assert re.fullmatch(r"[\d.]+ J|—", energy)
    assert vram == "—"
    assert "CPU" in shown.body.locator("li").all_inner_texts()[2]
    assert ran.result["energy_j"] > 0
    assert (ran.result["meter"], ran.result["method"]) == ("estimate", "estimated")


def test_the_table_sorts_by_cost_and_is_warm_where_it_costs(ran, opened):
    """Of made costs: which node is the slowest differs from machine to machine."""
    count = len(ran.result["nodes"])
    costs = [1.0 + (2 * n + 1) % count for n in range(count)]
    nodes = [
        {**node, "time_s": cost, "energy_j": 10 * cost}
        for node, cost in zip(ran.result["nodes"], costs, strict=True)
    ]
    opened.give({**ran.result, "nodes": nodes, "energy_j": 10 * sum(costs)})
    names = """(body) => [...body.querySelectorAll("tbody tr")].slice(1)
        .map((row) => row.cells[0].innerText)"""
    as_run = opened.body.evaluate(names)
    heading = opened.body.get_by_role("button", name="Time")
    heading.press("Enter")
    expect(opened.body.locator("th[aria-sort=descending]")).to_have_text(re.compile("Time"))
    order = sorted(range(count), key=lambda n: -costs[n])
    assert opened.body.evaluate(names) == [as_run[n] for n in order]
    widths = opened.body.evaluate(
        """(body) => [...body.querySelectorAll("tbody tr")].slice(1).map((row) =>
            parseFloat(getComputedStyle(row.cells[0], "::after").width))"""
    )
    assert sorted(widths, reverse=True) == widths
    assert widths[0] > widths[-1]
    heading.press("Enter")
    assert opened.body.evaluate(names) == as_run


def test_a_second_run_says_what_changed(ran, opened):
    opened.give({**ran.result, "prompt_id": "before", "workflow_id": "w"})
    rows = opened.body.locator("tbody tr")
    expect(rows.first.locator("td")).to_have_count(3)
    slower = [
        {**node, "time_s": node["time_s"] and 2 * node["time_s"], "energy_j": None}
        for node in ran.result["nodes"]
    ]
    later = {**ran.result, "prompt_id": "after", "workflow_id": "w", "nodes": slower}
    later["energy_j"] = 0.5 * ran.result["energy_j"]
    opened.give(later)
    expect(rows.first.locator("td").last).to_have_text("-50 %")
    sampler = rows.filter(has=opened.page.locator("th", has_text="KSampler #4"))
    expect(sampler.locator("td").last).to_have_text("+100 %")
    assert "Time, before: " in sampler.locator("td").last.get_attribute("title")
    opened.give({**later, "prompt_id": "another", "workflow_id": "other"})
    expect(rows.first.locator("td")).to_have_count(3)


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_text_stands_out_from_its_ground(shown, palette):
    shown.frontend.paint(palette)
    contrasts = shown.body.evaluate(CONTRASTS)
    assert {tag for tag, _ in contrasts} >= {"TH", "TD", "CAPTION", "LI"}
    assert [found for found in contrasts if found[1] < 4.5] == []


def test_the_keyboard_reaches_the_table(shown):
    region = shown.body.get_by_role("region", name="What each node cost")
    region.focus()
    expect(region).to_be_focused()


def test_after_a_reload_the_table_is_there_and_says_when(ran, opened):
    opened.frontend.open()
    opened.open(ran.workflow, "watched")
    expect(opened.body).to_contain_text("history: a run that ended")
    expect(opened.body.locator("tbody tr")).to_have_count(len(watched_picture(seed=0)) + 1)


def test_texts_follow_the_language(opened):
    try:
        opened.frontend.speak("pt-BR")
        opened.open(watched_picture(seed=0), "observar")
        expect(opened.body).to_contain_text("não precisa de conexões")
    finally:
        opened.frontend.speak("en")


def set_badges(frontend, is_on):
    """Switch the badges, and wait until the server knows whether to watch prompts."""
    with frontend.page.expect_response("**/wattbench/watch") as told:
        frontend.set(BADGES_SETTING, is_on)
    told.value.finished()


@pytest.fixture
def badged(uncomplaining):
    """The frontend with badges on, and a picture to make."""
    set_badges(uncomplaining, True)
    try:
        uncomplaining.load(picture(next(SEEDS)), "badges")
        yield uncomplaining
    finally:
        set_badges(uncomplaining, False)


def listed(frontend):
    return frontend.page.get_by_label("WattBench: what each node cost").locator("li")


def badges_in(frontend, count):
    """The texts on each node on the canvas, by its type, once there are so many."""
    frontend.page.wait_for_function(
        f"(count) => ({BADGES})().flatMap(([, texts]) => texts).length === count", arg=count
    )
    return dict(frontend.page.evaluate(BADGES))


def test_badges_stand_on_the_nodes_after_a_run_and_go_with_the_next(badged):
    badged.queue()
    nodes = picture(seed=0).values()
    badges = badges_in(badged, len(nodes))
    assert badges.keys() == {node["class_type"] for node in nodes}
    assert all(len(texts) == 1 for texts in badges.values())
    assert re.match(r"[\d.]+ m?s", badges["KSampler"][0])
    (sampler,) = listed(badged).filter(has_text="KSampler #4: ").all_text_contents()
    assert sampler.endswith(badges["KSampler"][0])
    badged.page.evaluate(
        """async () => {
            const { api } = await import("/scripts/api.js");
            api.dispatchCustomEvent("execution_start", { prompt_id: "next", timestamp: 0 });
        }"""
    )
    badges_in(badged, 0)
    expect(listed(badged)).to_have_count(0)


def test_badges_belong_to_the_workflow_that_ran(badged):
    page, count = badged.page, len(picture(seed=0))
    page.evaluate("app.rootGraph.id = crypto.randomUUID()")
    workflow = page.evaluate("app.rootGraph.serialize()")
    other = {**workflow, "id": str(uuid.uuid4())}
    page.evaluate(
        """async () => {
            const { api } = await import("/scripts/api.js");
            window.told = new Promise((resolve) =>
                api.addEventListener("wattbench_watch", () => resolve(), { once: true }));
            if (!(await app.queuePrompt(0))) throw new Error("ComfyUI refused the workflow");
        }"""
    )
    badged.load(other, "other")
    page.evaluate("told")
    badges_in(badged, 0)
    badged.load(workflow, "badges again")
    badges_in(badged, count)
    expect(listed(badged)).to_have_count(count)
    badged.load(other, "other again")
    badges_in(badged, 0)
    expect(listed(badged)).to_have_count(0)


def test_a_subgraph_shows_what_its_nodes_cost(badged):
    page = badged.page
    page.evaluate(
        f"""() => {{
            const nodes = [{NODE.format("KSampler")}, {NODE.format("VAEDecode")}];
            window.outer = app.rootGraph.convertToSubgraph(new Set(nodes)).node;
        }}"""
    )
    badged.queue()
    (outer,) = badges_in(badged, 5)[page.evaluate("outer.type")]
    assert re.match(r"[\d.]+ m?s", outer)
    page.evaluate("app.canvas.setGraph(outer.subgraph)")
    page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    inner = badges_in(badged, 2)
    assert {kind: len(texts) for kind, texts in inner.items()} == {"KSampler": 1, "VAEDecode": 1}
