"""A node that shows its last result in its body: what the tests of such nodes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from frontend import Frontend
from playwright.sync_api import Locator, Page, expect

PLACES = """(panel) => {
    const middle = (box) => (box.left + box.right) / 2;
    const [scale] = panel.querySelectorAll(".wattbench-scale");
    const ticks = [...scale.querySelectorAll(".wattbench-tick")];
    const at = ticks.map((tick) => middle(tick.getBoundingClientRect()));
    const values = ticks.map((tick) => Number(tick.textContent));
    const perPx = (values.at(-1) - values[0]) / (at.at(-1) - at[0]);
    const dots = [...panel.querySelectorAll(".wattbench-dot")];
    return dots.map((dot) => values[0] + perPx * (middle(dot.getBoundingClientRect()) - at[0]));
}"""
"""Where the dots of a chart stand, read off its axis."""


@dataclass(frozen=True)
class Ran:
    """A real run: the workflow as it is saved, with an id of its own, and the node's result."""

    workflow: dict[str, Any]
    result: dict[str, Any]


@dataclass(frozen=True)
class ResultNode:
    """The one result node on the canvas.

    Args:
        type: of the node.
        output: the key of its output; the first item there is the result.
    """

    frontend: Frontend
    type: str
    output: str

    @property
    def page(self) -> Page:
        return self.frontend.page

    @property
    def js(self) -> str:
        """The node, as a JavaScript expression."""
        return f"app.rootGraph.nodes.find((n) => n.type === '{self.type}')"

    @property
    def body(self) -> Locator:
        """The element around the result; found only when it is the only one on the page."""
        return self.page.locator(".wattbench-result")

    def open(self, workflow: Mapping[str, Any], name: str) -> None:
        """Load a workflow with the node, and bring that into view at its own size."""
        self.frontend.load(workflow, name)
        self.page.evaluate(
            f"""() => {{
                const node = {self.js};
                app.canvas.ds.scale = 1;
                app.canvas.ds.offset = [200 - node.pos[0], 120 - node.pos[1]];
                app.canvas.setDirty(true, true);
            }}"""
        )
        expect(self.body).to_be_visible()

    def give(self, result: Mapping[str, Any]) -> None:
        """Let the frontend receive a result, as after a run."""
        self.page.evaluate(
            f"""async (result) => {{
                const {{ api }} = await import("/scripts/api.js");
                const node = `${{{self.js}.id}}`;
                const output = {{ {self.output}: [result] }};
                const detail = {{ node, display_node: node, prompt_id: "earlier", output }};
                api.dispatchCustomEvent("executed", detail);
            }}""",
            result,
        )

    def unfold(self) -> None:
        """Open all that is folded."""
        self.body.locator("details").evaluate_all(
            "(all) => all.forEach((one) => (one.open = true))"
        )

    def run(self, workflow: Mapping[str, Any]) -> Ran:
        """Run a workflow with the node until its table is there."""
        self.open(workflow, "run")
        self.page.evaluate("app.rootGraph.id = crypto.randomUUID()")
        self.frontend.queue()
        expect(self.body.locator("table").first).to_be_attached()
        expect(self.body).not_to_contain_text("history")
        [result] = self.page.evaluate(f"app.nodeOutputs[{self.js}.id].{self.output}")
        return Ran(self.page.evaluate("app.rootGraph.serialize()"), result)

    def wait_until(self, predicate: str) -> None:
        """Wait until a JavaScript function of the node and its body is true, as layouts settle."""
        self.page.wait_for_function(
            f"(body) => ({predicate})({self.js}, body)", arg=self.body.element_handle()
        )
