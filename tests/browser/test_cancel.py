"""After a cancellation the runs that were measured are a click away."""

from __future__ import annotations

from graphs import benchmark
from playwright.sync_api import expect

UNTIL_CANCELLED = """async () => {
    const { api } = await import("/scripts/api.js");
    const ended = new Promise((resolve) => {
        api.addEventListener("execution_interrupted", resolve, { once: true });
    });
    const measured = new Promise((resolve) => {
        api.addEventListener("progress_text", function heard({ detail }) {
            if (!/[2-9] runs in the journal/.test(detail.text)) return;
            api.removeEventListener("progress_text", heard);
            resolve();
        });
    });
    await app.queuePrompt(0);
    await measured;
    await api.interrupt();
    await ended;
}"""


def test_after_a_cancel_a_button_shows_the_runs(opened):
    opened.open(benchmark(repeats=1000), "cancelled")
    opened.page.evaluate(UNTIL_CANCELLED)
    button = opened.body.get_by_role("button", name="runs that were measured before the end")
    expect(button).to_be_visible()
    count = int(button.inner_text().split()[2])
    assert count >= 2
    button.press("Enter")
    expect(opened.body.locator(".wattbench-figures")).to_contain_text("s/img")
    expect(button).to_have_count(0)
    opened.unfold()
    expect(opened.body.locator("tbody tr", has_text="n").first).to_contain_text(f"{count}")
