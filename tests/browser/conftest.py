"""A real browser on the real ComfyUI, and Show Summary after a real run in it."""

from __future__ import annotations

import os

import pytest
from frontend import TIMEOUT_MS, Frontend, find_browser, launch
from graphs import benchmark
from playwright.sync_api import expect, sync_playwright
from result_node import ResultNode

from ..spread import group_of

expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="session")
def browser():
    executable = find_browser()
    if executable is None:
        reason = (
            "no Chrome, Chromium or Edge: install one, or set WATTBENCH_BROWSER to its path; "
            "`python tasks.py test` finds or installs one"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright, launch(playwright, executable) as browser:
        yield browser


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """A page draws all the time, seen or not: the last test that looks at it leaves it."""
    goes_on = nextitem is None or group_of(nextitem.nodeid) == "page"
    if group_of(item.nodeid) == "page" and not goes_on and "frontend" in item.funcargs:
        item.funcargs["frontend"].page.goto("about:blank")


@pytest.fixture(scope="session")
def comfy_url(comfy_server):
    return f"http://{comfy_server.client.address}"


@pytest.fixture(scope="session", params=[False, True], ids=["classic", "nodes2"])
def frontend(request, browser, comfy_url):
    """The frontend with either of its two node renderers."""
    settings = {
        "Comfy.VueNodes.Enabled": request.param,
        "Comfy.ColorPalette": "dark",
        "Comfy.Locale": "en",
    }
    frontend = Frontend(browser, comfy_url, settings)
    assert frontend.page.evaluate("LiteGraph.vueNodesMode") is request.param
    yield frontend
    frontend.close()


@pytest.fixture
def uncomplaining(frontend):
    """The frontend, on whose console the pack must not complain during the test."""
    frontend.complaints.clear()
    yield frontend
    assert frontend.complaints == []


@pytest.fixture(scope="session")
def ran(frontend):
    """A real run of Benchmark and Show Summary."""
    return ResultNode(frontend, "WattBenchShowSummary", "wattbench_summary").run(benchmark())


@pytest.fixture
def opened(uncomplaining):
    """Show Summary in view, not run yet."""
    node = ResultNode(uncomplaining, "WattBenchShowSummary", "wattbench_summary")
    node.open(benchmark(), "summary")
    return node


@pytest.fixture
def shown(ran, opened):
    """Show Summary in view, with the result of the real run."""
    opened.give(ran.result)
    return opened


@pytest.fixture
def open_file(browser):
    """A function that opens a file of ours; nothing may be said or asked for until the end."""
    contexts, said, own = [], [], ["data:"]

    def open_page(path, width_px=1100, scheme="light", **options):
        own.append(path.as_uri())
        context = browser.new_context(
            viewport={"width": width_px, "height": 900}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text[:99] for text in said if not text.startswith(tuple(own))] == []
