"""ComfyUI's real frontend in a real browser: what the browser tests and the previews share."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The frontend also calls hosts of its vendor: nothing of that is needed here.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
]
QUIET = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Workflow.Persist": False,
    "WattBench.History.Keep": "off",
}
"""Settings that keep the frontend's offers, and the pack's, out of the way."""

CONTRASTS = """(root) => {
    const channels = (color) => color.match(/[\\d.]+/g).map(Number);
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const [r, g, b, alpha = 1] = channels(getComputedStyle(e).backgroundColor);
            if (alpha === 1) return [r, g, b];
            if (alpha !== 0) throw new Error("a translucent ground has no one contrast");
        }
        throw new Error("no ground");
    };
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map((c) => c / 255).map((c) =>
            c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const texts = [...root.querySelectorAll("*")].filter((e) =>
        [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
    return texts.map((e) => {
        const levels = [channels(getComputedStyle(e).color).slice(0, 3), ground(e)].map(luminance);
        const [low, high] = levels.sort((a, b) => a - b);
        return [e.tagName, (high + 0.05) / (low + 0.05)];
    });
}"""
"""Tag and contrast ratio (WCAG 2.2) of every element of a root that has a text of its own."""

SHOWN = """() => {
    const { nodes } = app.canvas.graph;
    const result = ".wattbench-result";
    const bodies = nodes.flatMap((node) => node.widgets ?? [])
        .map((widget) => widget.element)
        .filter((element) => element?.matches(result));
    if (!bodies.every((body) => body.isConnected)) return false;
    if (document.querySelectorAll(result).length !== bodies.length) return false;
    const elements = document.querySelectorAll("[data-testid=transform-pane] [data-node-id]");
    const drawn = [...elements].map((element) => element.dataset.nodeId).sort();
    return !LiteGraph.vueNodesMode || `${drawn}` === `${nodes.map((node) => `${node.id}`).sort()}`;
}"""
"""Whether the page has the nodes of the graph on the canvas, and no results of others."""

PAINTED = """(palette) =>
    document.documentElement.classList.contains("dark-theme") === (palette === "dark")
    && !document.getAnimations().some((one) => one instanceof CSSTransition)"""
"""Whether the page has one of the palettes dark and light, and no colour is on its way."""

RUN = {"en": "Run", "pt-BR": "Executar"}
"""What the frontend's button is called, in languages that are tested."""

TIMEOUT_MS = 60_000
"""How long anything may take that has to come; a loaded machine is slow."""

PACK_URL = "/extensions/wattbench/"
OPTIONAL_TRANSLATION = PACK_URL + "docs/"
"""The frontend asks for a help page in the user's language first; that one may be missing."""


def find_browser() -> str | None:
    """``WATTBENCH_BROWSER``, else a Chrome, Chromium or Edge on PATH, else ``None``."""
    found = (shutil.which(name) for name in BROWSERS)
    return os.environ.get("WATTBENCH_BROWSER") or next(filter(None, found), None)


@contextmanager
def launch(playwright: Playwright, executable: str) -> Iterator[Browser]:
    """The browser, with a profile of its own that is empty."""
    browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
    try:
        yield browser
    finally:
        browser.close()


class Frontend:
    """One page with ComfyUI's frontend, loaded and ready.

    Args:
        settings: of ComfyUI, by id; stored on the server, as a user's are.
        size_px: width and height of the page, in CSS pixels.
        pixel_ratio: device pixels of a CSS pixel.
    """

    def __init__(
        self,
        browser: Browser,
        url: str,
        settings: Mapping[str, Any],
        size_px: tuple[int, int] = (1280, 800),
        pixel_ratio: float = 1,
    ) -> None:
        self.url = url
        self.complaints: list[str] = []
        self._numbers = itertools.count(1)
        for key, value in {**QUIET, **settings}.items():
            self._store_setting(key, value)
        width, height = size_px
        context = browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=pixel_ratio
        )
        context.set_default_timeout(TIMEOUT_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
        self.page: Page = context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.open()

    def open(self) -> None:
        """Load the page, anew if need be, until a workflow is on the canvas."""
        self.page.goto(self.url)
        # The workflow is there before the frontend has ended its start, and with it the spinner.
        self.page.wait_for_function(
            "window.app?.vueAppReady && app.extensionManager.workflow.activeWorkflow"
            " && app.rootGraph.nodes.length && !app.extensionManager.spinner"
        )

    def close(self) -> None:
        self.page.context.close()

    def set(self, key: str, value: Any) -> None:
        """Change a setting while the page is open."""
        self.page.evaluate("([k, v]) => app.extensionManager.setting.set(k, v)", [key, value])

    def paint(self, palette: str) -> None:
        """Change the palette, ``dark`` or ``light``, while the page is open."""
        self.set("Comfy.ColorPalette", palette)
        self.page.wait_for_function(PAINTED, arg=palette)

    def speak(self, language: str) -> None:
        """Change the language while the page is open.

        The frontend then fetches its nodes anew, and opens the workflow that is active by then once
        more: what is loaded before that has ended is replaced. Its own texts may come later still.
        """
        self.page.evaluate(
            """async (language) => {
                if (app.extensionManager.setting.get("Comfy.Locale") === language) return;
                const reopened = new Promise((resolve, reject) => {
                    app.loadGraphData = (...given) => {
                        delete app.loadGraphData;
                        const loaded = app.loadGraphData(...given);
                        loaded.then(resolve, reject);
                        return loaded;
                    };
                });
                await app.extensionManager.setting.set("Comfy.Locale", language);
                await reopened;
            }""",
            language,
        )
        run = self.page.get_by_role("button", name=RUN[language], exact=True)
        run.first.wait_for(state="visible")

    def load(self, workflow: Mapping[str, Any], name: str) -> None:
        """Open a workflow in a tab of its own: UI format, or API format if it has no ``nodes``.

        Then wait until its nodes have come, some frames later, and those before it have gone. The
        frontend would take a second one of the same name for the first, and put back its outputs.
        """
        call = (
            "app.loadGraphData(w, true, true, name)"
            if "nodes" in workflow
            else "app.loadApiJson(w, name)"
        )
        self.page.evaluate(
            f"""async ([w, name]) => {{
                app.canvas.setGraph(app.rootGraph);
                await {call};
            }}""",
            [workflow, f"{name} {next(self._numbers)}"],
        )
        self.wait_for_nodes()

    def wait_for_nodes(self) -> None:
        """Wait until what the page shows is the graph on the canvas.

        The frontend may fit a graph into the view in the second frame after it came.
        """
        self.page.evaluate(
            "() => new Promise((done) =>"
            " requestAnimationFrame(() => requestAnimationFrame(() => done())))"
        )
        self.page.wait_for_function(SHOWN)

    def queue(self) -> None:
        """Run the workflow on the canvas as the button Run does, and wait for its end."""
        self.page.evaluate(
            """async () => {
                const api = (await import("/scripts/api.js")).api;
                const end = new Promise((resolve, reject) => {
                    api.addEventListener("execution_success", resolve, { once: true });
                    api.addEventListener(
                        "execution_error",
                        (event) => reject(new Error(event.detail.exception_message)),
                        { once: true },
                    );
                });
                if (!(await app.queuePrompt(0))) throw new Error("ComfyUI refused the workflow");
                await end;
            }"""
        )

    def _store_setting(self, key: str, value: Any) -> None:
        request = urllib.request.Request(
            f"{self.url}/settings/{key}",
            data=json.dumps(value).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request):
            pass

    def _on_console(self, message: ConsoleMessage) -> None:
        source = message.location.get("url", "")
        ours = PACK_URL in source or "wattbench" in message.text.lower()
        if message.type in ("error", "warning") and ours and OPTIONAL_TRANSLATION not in source:
            self.complaints.append(f"{message.type}: {message.text} ({source})")
