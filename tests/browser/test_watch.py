"""What each node cost, in ComfyUI's real frontend: the table of Watch Graph, and the badges."""

from __future__ import annotations

import re
import time

import pytest
from frontend import CONTRASTS
from playwright.sync_api import expect
from test_summary_node import SYNTHETIC

SAMPLING = {"steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
WORKFLOW = {
    "1": {"class_type": "WattBenchSyntheticModel", "inputs": SYNTHETIC},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a moth"}},
    "3": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1},
    },
    "4": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "positive": ["2", 0],
            "negative": ["2", 0],
            "latent_image": ["3", 0],
            "seed": 1,
            **SAMPLING,
        },
    },
    "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
    "7": {
        "class_type": "WattBenchWatchGraph",
        "inputs": {"folder": "wattbench", "meter": "estimate"},
    },
}
UNWATCHED = {node_id: node for node_id, node in WORKFLOW.items() if node_id != "7"}

NODE = "app.rootGraph.nodes.find((n) => n.type === '{}')"
WATCH = NODE.format("WattBenchWatchGraph")
PREPARE = f"""() => {{
    const node = {WATCH};
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [200 - node.pos[0], 120 - node.pos[1]];
    app.canvas.setDirty(true, true);
}}"""
BADGES = """(graph) => {
    const onCanvas = (node) => node.badges
        .map((badge) => (typeof badge === "function" ? badge() : badge))
        .filter((badge) => badge.bgColor === "#1f3a5f")
        .map((badge) => badge.text);
    const onElement = (node) => [
        ...document.querySelectorAll(`[data-node-id="${node.id}"] > .wattbench-node-badge`),
    ].map((badge) => badge.textContent);
    const texts = LiteGraph.vueNodesMode ? onElement : onCanvas;
    return graph.nodes.map((node) => [node.type, texts(node)]);
}"""
BADGES_SETTING = "WattBench.Watch.Badges"


@pytest.fixture
def opened(frontend):
    frontend.complaints.clear()
    yield frontend
    assert frontend.complaints == []


@pytest.fixture(scope="module")
def cost(frontend):
    """What the node told, and showed, in a real run."""
    frontend.load(WORKFLOW, "watch")
    frontend.page.evaluate("app.rootGraph.id = crypto.randomUUID()")
    frontend.page.evaluate(PREPARE)
    frontend.queue()
    expect(widget(frontend).locator("table")).to_be_visible()
    [cost] = frontend.page.evaluate(f"app.nodeOutputs[{WATCH}.id].wattbench_watch")
    return cost


@pytest.fixture
def shown(opened, cost):
    return opened


def widget(frontend):
    return frontend.page.locator(".wattbench-watch")


def test_the_table_has_a_row_for_each_node(shown, cost):
    rows = widget(shown).locator("tbody tr")
    expect(rows).to_have_count(len(WORKFLOW) + 1)
    names = rows.locator("th").all_inner_texts()
    assert names[0] == "Whole prompt"
    assert {name.rpartition("#")[2] for name in names[1:]} == set(WORKFLOW)
    sampler = rows.filter(has=shown.page.locator("th", has_text="KSampler #4"))
    time, energy, vram = sampler.locator("td").all_inner_texts()
    assert re.fullmatch(r"[\d.]+ m?s \(\d+ %\)", time)
    assert re.fullmatch(r"[\d.]+ J|—", energy)
    assert vram == "—"
    assert "CPU" in widget(shown).locator("li").all_inner_texts()[2]
    assert cost["energy_j"] > 0
    assert (cost["meter"], cost["method"]) == ("estimate", "estimated")


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_text_stands_out_from_its_ground(shown, palette):
    shown.set("Comfy.ColorPalette", palette)
    contrasts = widget(shown).evaluate(CONTRASTS)
    assert {tag for tag, _ in contrasts} >= {"TH", "TD", "CAPTION", "LI"}
    assert [found for found in contrasts if found[1] < 4.5] == []


def test_the_keyboard_reaches_the_table(shown):
    region = widget(shown).get_by_role("region", name="What each node cost")
    region.focus()
    expect(region).to_be_focused()


def test_after_a_reload_the_table_is_there_and_says_when(shown, cost):
    ran = shown.page.evaluate("app.rootGraph.serialize()")
    shown.open()
    shown.load(ran, "watched")
    expect(widget(shown)).to_contain_text("history: a run that ended")
    expect(widget(shown).locator("tbody tr")).to_have_count(len(WORKFLOW) + 1)


@pytest.fixture
def badged(opened):
    """With badges on, a function that runs what is on the canvas and waits for so many badges."""
    opened.set(BADGES_SETTING, True)
    opened.load(UNWATCHED, "badges")
    opened.page.evaluate(f"{NODE.format('KSampler')}.widgets[0].value = {time.time_ns() % 10**9}")

    def run(count):
        opened.queue()
        listed = opened.page.get_by_label("WattBench: what each node cost").locator("li")
        expect(listed).to_have_count(count)
        return listed.all_text_contents()

    yield run
    opened.set(BADGES_SETTING, False)


def badges_in(frontend, graph="app.canvas.graph"):
    """The texts on each node of a graph, by its type; nodes appear some frames after the graph."""
    return dict(frontend.page.evaluate(f"({BADGES})({graph})"))


def test_badges_stand_on_the_nodes_after_a_run_and_go_with_the_next(opened, badged):
    listed = badged(len(UNWATCHED))
    badges = badges_in(opened)
    assert set(badges) == {node["class_type"] for node in UNWATCHED.values()}
    assert all(len(texts) == 1 for texts in badges.values())
    assert re.match(r"[\d.]+ m?s", badges["KSampler"][0])
    (sampler,) = (text for text in listed if text.startswith("KSampler #4: "))
    assert sampler.endswith(badges["KSampler"][0])
    opened.page.evaluate(
        """async () => {
            const { api } = await import("/scripts/api.js");
            api.dispatchCustomEvent("execution_start", { prompt_id: "next", timestamp: 0 });
        }"""
    )
    assert not any(badges_in(opened).values())
    expect(opened.page.locator(".wattbench-unseen li")).to_have_count(0)


def test_a_subgraph_shows_what_its_nodes_cost(opened, badged):
    page = opened.page
    page.evaluate(
        f"""() => {{
            const nodes = [{NODE.format("KSampler")}, {NODE.format("VAEDecode")}];
            window.outer = app.rootGraph.convertToSubgraph(new Set(nodes)).node;
        }}"""
    )
    badged(len(UNWATCHED) + 1)
    (outer,) = badges_in(opened)[page.evaluate("outer.type")]
    page.evaluate("app.canvas.setGraph(outer.subgraph)")
    page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    if page.evaluate("LiteGraph.vueNodesMode"):
        expect(page.locator(".wattbench-node-badge")).to_have_count(2)
    inner = badges_in(opened)
    assert {kind: len(texts) for kind, texts in inner.items()} == {"KSampler": 1, "VAEDecode": 1}
    assert re.match(r"[\d.]+ m?s", outer)
    page.evaluate("app.canvas.setGraph(app.rootGraph)")


def test_texts_follow_the_language(opened):
    opened.speak("pt-BR")
    try:
        opened.load(WORKFLOW, "observar")
        expect(widget(opened)).to_contain_text("não precisa de conexões")
    finally:
        opened.speak("en")
