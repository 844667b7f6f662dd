"""Who searches for what the pack does finds it among the first.

Not ``int8`` and ``sage``: the frontend puts *Paint* and *Save* before them.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

FIRST = 5
WORDS = (
    *("energy", "power", "watt", "vram", "gpu", "monitor", "benchmark", "speed"),
    *("fp8", "flash"),
)


@pytest.fixture
def search(uncomplaining):
    """A function that types into the search of nodes and gives the names that come first."""
    page = uncomplaining.page
    uncomplaining.load({}, "search")
    box = page.get_by_placeholder("Add a node")

    def found(word):
        page.evaluate("app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
        expect(box.first).to_be_visible()
        box.first.fill(word)
        options = page.get_by_role("option")
        expect(options.first).to_be_visible()
        texts = options.all_inner_texts()[:FIRST]
        page.keyboard.press("Escape")
        return texts

    return found


@pytest.mark.parametrize("word", WORDS)
def test_a_word_finds_ours_among_the_first(search, word):
    assert any("(WattBench)" in text for text in search(word)), word
