"""The page of ``wattbench leaderboard`` in a real browser."""

from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe

from wattbench.report.leaderboard import as_leaderboard
from wattbench.sharing.board import Signed, board
from wattbench.sharing.bundle import Bundle


@pytest.fixture(scope="module")
def path(make_run, tmp_path_factory):
    """Two cards, and two sizes of one of them."""
    bundles = []
    for card in ("RTX 3090", "RTX 4090"):
        environment = replace(make_run().environment, gpu_name=card)
        runs = [make_run(f"{card[4:]}{n}", repeat=n, environment=environment) for n in range(3)]
        small = replace(runs[0].condition, width_px=512, height_px=512)
        if card == "RTX 3090":
            runs.append(make_run("f1", condition=small, environment=environment))
        bundles.append(Signed(Bundle.of(runs)))
    page = tmp_path_factory.mktemp("leaderboard") / "leaderboard.html"
    page.write_text(as_leaderboard(board(bundles)), "utf-8")
    return page


@pytest.mark.parametrize(("width_px", "scheme"), [(1100, "dark"), (360, "light")])
def test_it_is_accessible_and_filters(open_file, path, width_px, scheme):
    page = open_file(path, width_px, scheme)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    rows = page.locator("tbody tr:visible")
    assert rows.count() == 3
    page.get_by_label("Card").select_option("RTX 4090")
    assert rows.count() == 1
    assert page.get_by_role("status").inner_text() == "1 rows shown"
    assert page.locator("main > section:visible").count() == 2, "its table, and how to read it"
    page.get_by_label("Card").select_option("all")
    page.get_by_label("Size").select_option("512 x 512")
    assert rows.all_inner_texts()[0].startswith("RTX 3090")
    page.get_by_label("Size").select_option("all")
    assert rows.count() == 3


def test_it_is_whole_without_scripts(open_file, path):
    page = open_file(path, java_script_enabled=False)
    assert page.locator("tbody tr:visible").count() == 3
    assert page.locator("select:visible").count() == 0
