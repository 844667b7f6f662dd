"""Every output node shows in its body what it answered: looked at as pixels, after a real run."""

from __future__ import annotations

import io

import pytest
from graphs import benchmark
from PIL import Image
from playwright.sync_api import expect

OUTPUT_NODES = """() => Object.values(LiteGraph.registered_node_types)
    .filter(({ nodeData }) => nodeData?.name?.startsWith("WattBench") && nodeData.output_node)
    .map(({ nodeData }) => nodeData.name).sort()"""

BODY_OF = """(name) => {
    const node = LiteGraph.createNode(name);
    app.rootGraph.add(node);
    const { element } = node.widgets.find((widget) => widget.name === "result") ?? {};
    const text = element?.textContent ?? "";
    app.rootGraph.remove(node);
    return text;
}"""

SETTINGS = ("width", "height", "batch_size", "steps", "cfg", "sampler_name", "scheduler")
IN_VIEW = """(id) => {
    const node = app.rootGraph.getNodeById(id);
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [200 - node.pos[0], 150 - node.pos[1]];
    app.canvas.setDirty(true, true);
}"""

SAID = {
    "3": "s/img",
    "4": "2 runs went into output/bodies: runs.csv",
    "5": "sdpa_math",
    "6": "No forecast",
    "7": "What each node cost",
}
"""What stands in the body of each node of the graph."""


def graph():
    """All output nodes that answer within seconds, in one graph."""
    made = benchmark()
    settings = {name: made["2"]["inputs"][name] for name in SETTINGS}
    return {
        **made,
        "4": {"class_type": "WattBenchExportCSV", "inputs": {"runs": ["2", 1], "folder": "bodies"}},
        "5": {"class_type": "WattBenchAttentionInfo", "inputs": {}},
        "6": {"class_type": "WattBenchPredictEnergy", "inputs": {"model": ["1", 0], **settings}},
        "7": {"class_type": "WattBenchWatchGraph", "inputs": {"folder": "bodies"}},
    }


def test_each_output_node_has_a_body_that_says_what_to_do(uncomplaining):
    page = uncomplaining.page
    names = page.evaluate(OUTPUT_NODES)
    assert len(names) >= 8
    empty = [name for name in names if "Run" not in page.evaluate(BODY_OF, name)]
    assert empty == []


def test_what_each_answered_is_to_be_seen(uncomplaining):
    page = uncomplaining.page
    uncomplaining.load(graph(), "bodies")
    uncomplaining.queue()
    for node_id, said in SAID.items():
        page.evaluate(IN_VIEW, node_id)
        title = page.evaluate("(id) => app.rootGraph.getNodeById(id).type", node_id)
        element = page.evaluate_handle(
            """(id) => app.rootGraph.getNodeById(id).widgets
                .find((widget) => widget.name === "result").element""",
            node_id,
        ).as_element()
        body = element.query_selector(".wattbench-body")
        element.wait_for_element_state("visible")
        page.wait_for_function("([e, t]) => e.innerText.includes(t)", arg=[body, said])
        page.wait_for_function("(e) => e.getBoundingClientRect().height > 25", arg=element)
        assert share_of_ink(element.screenshot()) > 0.01, title


def share_of_ink(png):
    """How much of a picture is not its ground."""
    with Image.open(io.BytesIO(png)) as picture:
        grey = picture.convert("L")
        histogram = grey.histogram()
    ground = max(range(256), key=histogram.__getitem__)
    near = sum(histogram[max(0, ground - 40) : ground + 41])
    return 1 - near / sum(histogram)


@pytest.mark.parametrize(
    ("node_id", "text"),
    [("WattBenchQuantizeCheckpoint", "a.safetensors: 12 layers\n3.4 GB less")],
)
def test_text_has_its_lines(uncomplaining, node_id, text):
    page = uncomplaining.page
    uncomplaining.load({"1": {"class_type": node_id, "inputs": {}}}, node_id)
    page.evaluate(
        """async ([text]) => {
            const { api } = await import("/scripts/api.js");
            const output = { text: [text] };
            const detail = { node: "1", display_node: "1", prompt_id: "a", output };
            api.dispatchCustomEvent("executed", detail);
        }""",
        [text],
    )
    expect(page.locator(".wattbench-result p")).to_have_text(text.split("\n"))
