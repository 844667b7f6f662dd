"""The body of a result node: its size, and what it shows after a reload, undo, another workflow."""

from __future__ import annotations

import uuid

from graphs import benchmark
from playwright.sync_api import expect

ALL_VISIBLE = """(node, body) => {
    const canvasTop = app.canvasEl.getBoundingClientRect().top;
    const end = canvasTop + app.canvas.ds.offset[1] + node.pos[1] + node.size[1];
    const regions = [...body.querySelectorAll("[role=region]")];
    return body.scrollHeight === body.clientHeight
        && [body, ...regions].every((part) => part.scrollWidth === part.clientWidth)
        && body.querySelector(".wattbench-actions").getBoundingClientRect().bottom <= end;
}"""


def test_an_empty_node_says_what_to_do(opened):
    expect(opened.body).to_contain_text("press Run")


def test_all_of_it_is_visible_in_the_node(shown):
    shown.wait_until(ALL_VISIBLE)


def test_what_comes_late_gets_room(shown):
    shown.wait_until(ALL_VISIBLE)
    before = shown.page.evaluate(f"{shown.js}.size[1]")
    late = "(node) => { node.firstChild.append(document.createElement('hr')); "
    shown.body.evaluate(late + "node.firstChild.lastChild.style.height = '90px'; }")
    shown.wait_until(ALL_VISIBLE)
    assert shown.page.evaluate(f"{shown.js}.size[1]") > before + 80


def test_it_grows_no_further_than_the_next_node(ran, opened):
    opened.page.evaluate(
        f"""() => {{
            const node = {opened.js};
            node.setSize([560, 200]);
            const below = app.rootGraph.nodes.find((one) => one.type === "WattBenchBenchmark");
            below.pos = [node.pos[0], node.pos[1] + 400];
        }}"""
    )
    opened.give(ran.result)
    assert 300 < opened.page.evaluate(f"{opened.js}.size[1]") < 400
    opened.wait_until("(_, body) => body.scrollHeight > body.clientHeight")


def test_after_a_reload_the_last_result_is_there_and_says_when(ran, opened):
    opened.frontend.open()
    opened.open(ran.workflow, "kept")
    expect(opened.body).to_contain_text("history: a run that ended")
    expect(opened.body.locator(".wattbench-card")).to_contain_text(ran.result["glance"]["common"])
    with opened.page.expect_response(lambda response: "/jobs?" in response.url) as asked:
        opened.open({**ran.workflow, "id": str(uuid.uuid4())}, "another workflow")
    asked.value.finished()
    expect(opened.body).to_contain_text("press Run")


def test_the_table_outlives_undo_and_a_change_of_tabs(shown):
    page, captions = shown.page, shown.body.locator("caption")
    page.evaluate(f"{shown.js}.pos = [{shown.js}.pos[0] + 40, {shown.js}.pos[1]]")
    tracker = "app.extensionManager.workflow.activeWorkflow.changeTracker"
    page.evaluate(f"{tracker}.captureCanvasState()")
    for step in ("undo", "redo"):
        page.evaluate(f"{tracker}.{step}()")
        shown.frontend.wait_for_nodes()
        expect(captions).to_have_count(2)
    first = page.evaluate_handle("app.extensionManager.workflow.activeWorkflow")
    shown.open(benchmark(), "another")
    expect(shown.body).to_contain_text("press Run")
    page.evaluate("(first) => app.loadGraphData(first.activeState, true, true, first)", first)
    shown.frontend.wait_for_nodes()
    expect(captions).to_have_count(2)


def test_a_removed_node_leaves_nothing_behind(shown):
    shown.page.evaluate(f"app.rootGraph.remove({shown.js})")
    expect(shown.body).to_have_count(0)


def test_the_table_appears_inside_a_subgraph(opened):
    page = opened.page
    page.evaluate(
        f"""() => {{
            const {{ node, subgraph }} = app.rootGraph.convertToSubgraph(new Set([{opened.js}]));
            window.inner = subgraph;
        }}"""
    )
    opened.frontend.queue()
    page.evaluate("app.canvas.setGraph(inner)")
    page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    expect(opened.body.locator("tbody th").first).to_have_text("n")


def test_the_widget_is_no_input_and_is_not_saved(shown):
    prompt = shown.page.evaluate(f"async () => (await app.graphToPrompt()).output[{shown.js}.id]")
    assert list(prompt["inputs"]) == ["runs"]
    saved = shown.page.evaluate(f"{shown.js}.serialize()")
    assert not any(saved.get("widgets_values") or [])
    assert "J/img" not in str(saved)
