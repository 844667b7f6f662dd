"""A real browser on the real ComfyUI."""

from __future__ import annotations

import os

import pytest
from frontend import TIMEOUT_MS, Frontend, find_browser, launch
from playwright.sync_api import expect, sync_playwright

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


@pytest.fixture(scope="session")
def comfy_url(comfy_server):
    return f"http://{comfy_server.client.address}"


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes2"])
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
