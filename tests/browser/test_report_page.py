"""The page of ``wattbench report`` in a real browser: silent, alone, accessible, sortable."""

from functools import partial

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from wattbench.analysis.analysis import Analysis
from wattbench.report import read_runs
from wattbench.report.html import as_html

from ..report.made_folder import made_folder


@pytest.fixture(scope="module")
def path(make_run, tmp_path_factory):
    """A page with a picture of each condition."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "pictures").mkdir()
    Image.new("RGB", (640, 480), (40, 90, 160)).save(folder / "pictures" / "a.png")
    made_folder(make_run, folder, picture_file="pictures/a.png")
    page = folder / "report.html"
    page.write_text(as_html(Analysis(read_runs(folder / "runs.csv")), [folder]), "utf-8")
    return page


@pytest.fixture
def opened(open_file, path):
    return partial(open_file, path)


@pytest.mark.parametrize(
    ("width_px", "scheme"), [(1100, "light"), (1100, "dark"), (360, "light"), (360, "dark")]
)
def test_it_is_accessible_in_both_themes_and_narrow(opened, width_px, scheme):
    page = opened(width_px, scheme)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    pictures = page.evaluate("[...document.images].map((one) => one.naturalWidth)")
    assert pictures == [360, 360, 360]


def test_charts_take_the_colours_of_the_theme(opened):
    colour = "getComputedStyle(document.querySelector('svg text')).fill"
    assert opened(scheme="light").evaluate(colour) == "rgb(27, 31, 36)"
    assert opened(scheme="dark").evaluate(colour) == "rgb(230, 233, 237)"


def test_tables_sort_where_scripts_run(opened):
    page = opened()
    table = page.locator("#trade-off table")
    cells = table.locator("tbody td:nth-child(3)")
    heading = table.get_by_role("button", name="J/img")
    values = [text.split()[0] for text in cells.all_inner_texts()]
    assert sorted(values, key=float) != values
    heading.focus()
    page.keyboard.press("Enter")
    assert [t.split()[0] for t in cells.all_inner_texts()] == sorted(values, key=float)
    assert table.locator("th[aria-sort=ascending]").inner_text().startswith("J/img")
    page.keyboard.press("Enter")
    assert [t.split()[0] for t in cells.all_inner_texts()] == sorted(values, key=float)[::-1]


def test_everything_is_there_without_scripts(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("button").count() == 0
    assert page.locator("main section").count() == 14
    assert page.locator("svg").first.is_visible()


def test_a_raw_table_can_be_saved(opened, tmp_path):
    page = opened()
    with page.expect_download() as download:
        page.get_by_role("link", name="runs.csv").click()
    saved = tmp_path / "saved.csv"
    download.value.save_as(saved)
    assert len(read_runs(saved)) == 15
