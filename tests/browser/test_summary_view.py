"""The tables of Show Summary, and of nodes that have a row for each layer."""

from __future__ import annotations

import re

import made_up
import pytest
from frontend import CONTRASTS
from playwright.sync_api import expect
from result_node import ResultNode

from wattbench.report.summary import HEADINGS


def cells(table):
    """The texts of the cells of a table of one condition by heading, without the reasons' marks."""
    names = table.locator("tbody th[scope=row]").all_inner_texts()
    texts = table.locator("td").all_inner_texts()
    return {name: re.sub(r"^—\d+$", "—", text) for name, text in zip(names, texts, strict=True)}


def told(table):
    """The same of a table as the server tells it."""
    (row,) = table["rows"]
    return dict(zip(table["headings"][1:], row[1:], strict=True))


def test_a_run_fills_the_tables_which_are_folded(shown, ran):
    expect(shown.body.locator("table").first).not_to_be_visible()
    shown.unfold()
    main, phases = shown.body.locator("table").all()
    first, condition = main.locator("thead th[scope=col]").all_inner_texts()
    assert first == HEADINGS[0]
    assert condition.startswith("synthetic sdxl tiny, 64x64, euler/normal")
    values = cells(main)
    assert values == told(ran.result)
    assert (*values,) == tuple(h for h in HEADINGS[1:] if h != "Peak VRAM (GiB)")
    assert values["n"] == "2"
    assert values["Energy from"] == "estimate (estimated)"
    for metric in ("it/s", "img/s", "s/img", "J/img", "img/kWh"):
        mean = re.fullmatch(r"([\d.]+) ± [\d.]+", values[metric])
        assert mean is not None, (metric, values[metric])
        assert float(mean[1]) > 0
    values = cells(phases)
    assert values == told(ran.result["phases"])
    for unit in ("s", "J"):
        for phase in ("Encode", "Denoise", "Decode"):
            assert re.search(r" ± .* %\)$", values[f"{phase} ({unit})"])
    notes = shown.body.locator(".wattbench-notes li").all_inner_texts()
    assert notes[0].startswith("Measured ")
    assert notes[1] == "± is the half width of the 95 % Student-t interval of the mean."


def test_one_cause_is_one_line_with_its_remedy(shown):
    shown.unfold()
    expect(shown.body.locator("td abbr")).to_have_count(0)
    lines = shown.body.locator(".wattbench-unmeasured li").all_inner_texts()
    vram, idle = sorted(lines, reverse=True)
    assert vram.startswith("Not measured: Peak VRAM (GiB): the model ran on the CPU")
    assert "Net J/img, Idle power before / after (W): idle power was not measured" in idle


def test_every_blank_cell_leads_to_its_reason(opened):
    rows = [["a", "1.00", "—", "—"], ["b", "—", "2.00", "—"], ["c", "1.00", "2.00", "3.00"]]
    blanks = [{"J/img": "no energy", "img/s": "no images"}, {"it/s": "no steps"}, {}]
    blanks[1]["img/s"] = "no images"
    headings = ["Condition", "it/s", "J/img", "img/s"]
    opened.give({"headings": headings, "rows": rows, "blanks": blanks, "notes": []})
    reasons = opened.body.locator(".wattbench-reasons li").all_inner_texts()
    blank = opened.body.locator("td:has(abbr)")
    marks = [int(mark) for mark in blank.locator("sup").all_inner_texts()]
    assert len(marks) == blank.count() == 4
    titles = blank.locator("abbr").evaluate_all("(all) => all.map((one) => one.title)")
    assert [reasons[mark - 1] for mark in marks] == titles
    assert sorted(reasons) == ["no energy", "no images", "no steps"]


def test_many_conditions_have_a_row_each_and_scroll_by_keyboard(opened):
    opened.give(made_up.SUMMARY)
    table = opened.body.locator("table")
    assert tuple(table.locator("thead th[scope=col]").all_inner_texts()) == HEADINGS
    rows = table.locator("tbody th[scope=row]").all_inner_texts()
    assert rows == [row[0] for row in made_up.SUMMARY["rows"]]
    expect(opened.body.locator("img")).to_have_count(0)
    number = table.locator("td").filter(has_text="1.00").first
    expect(number).to_have_css("text-align", "right")
    opened.body.get_by_role("region").press("ArrowRight")
    opened.wait_until("(_, body) => body.querySelector('.wattbench-region').scrollLeft > 0")


@pytest.mark.parametrize("count", [2, 5])
def test_a_long_name_leaves_the_numbers_in_sight(opened, count):
    name = "a_checkpoint_of_a_merge_of_merges_" * 4
    rows = [[name + row[0], *row[1:]] for row in made_up.SUMMARY["rows"][:count]]
    opened.give({**made_up.SUMMARY, "rows": rows})
    opened.wait_until(
        """(_, body) => {
            const parts = [body.querySelector("td"), body.querySelector("[role=region]")];
            const [cell, region] = parts.map((part) => part.getBoundingClientRect().right);
            return cell <= region;
        }"""
    )


def test_a_narrow_node_has_the_numbers_in_sight(ran, opened):
    opened.page.evaluate(f"{opened.js}.setSize([320, 200]), app.canvas.setDirty(true)")
    opened.wait_until("(_, body) => body.clientWidth < 320")
    opened.give(ran.result)
    opened.unfold()
    opened.wait_until(
        """(_, body) => [...body.querySelectorAll("[role=region]")]
            .every((region) => region.scrollWidth === region.clientWidth)"""
    )


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_text_stands_out_from_its_ground(shown, palette):
    shown.frontend.paint(palette)
    shown.unfold()
    contrasts = shown.body.evaluate(CONTRASTS)
    assert {tag for tag, _ in contrasts} >= {"TH", "TD", "CAPTION", "LI", "BUTTON", "FIGCAPTION"}
    assert [found for found in contrasts if found[1] < 4.5] == []


@pytest.mark.parametrize("node_id", ["WattBenchCalibrate", "WattBenchQuantReport"])
def test_a_table_of_layers_has_the_same_face(uncomplaining, node_id):
    node = ResultNode(uncomplaining, node_id, "wattbench_table")
    node.open({"1": {"class_type": node_id, "inputs": {}}}, node_id)
    node.give(made_up.SUMMARY)
    expect(node.body.locator("tbody tr")).to_have_count(len(made_up.SUMMARY["rows"]))
    expect(node.body).to_contain_text("a note")
