"""The page of the history, without a browser: what is in it, in both languages."""

import json
import re
import sys

import pytest

from wattbench.measure.graph.history import Entries
from wattbench.report import timeline
from wattbench.report.html import PageUnavailableError
from wattbench.report.timeline import as_timeline

from .made_history import entry, history


def data_of(page):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    return json.loads(text)


def cells_of(page):
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", page, re.S)
    return [re.findall(r"<td>(.*?)</td>", row, re.S) for row in rows]


def test_prompts_stand_newest_first_with_their_change_against_the_same_workflow():
    page = as_timeline(history())
    workflows, times, energies, _, changes, loads, remarks = zip(*cells_of(page), strict=True)
    assert workflows == ("—", "A", "B", "A")
    assert times == ("2.70 s", "4.30 s", "3.34 s", "5.26 s")
    assert energies[1] == "900 ± 60 J (counter)"
    assert changes == ("—", "-23 %", "—", "—")
    assert loads[0] == "SDXLClipModel 1.50 GiB, SDXL 4.80 GiB, -SDXLClipModel 1.50 GiB"
    assert remarks[0] == "failed"
    assert remarks[1] == "sdpa ran in place of sage_2: &lt;img src=x&gt;"
    assert "passed over: 1." in page


def test_nothing_in_it_can_end_the_script_that_holds_the_data():
    title = "</script><script>alert(1)</script>"
    node = {"node_id": "1", "class_type": "A", "title": title, "state": "executed"}
    page = as_timeline(Entries((entry(0, None, nodes=[{**node, "time_s": 1.0}]),), 0))
    assert page.count("</script>") == 2
    assert data_of(page)["prompts"][0]["nodes"][0]["title"] == title


def test_an_empty_history_says_so():
    page = as_timeline(Entries((), 0))
    assert "No prompt has been kept yet." in page
    assert data_of(page)["prompts"] == []


def test_all_of_it_is_said_in_portuguese(monkeypatch):
    asked = {}
    real = timeline.translator

    def noting(language):
        translate = real(language)
        return lambda text: asked.setdefault(text, translate(text))

    monkeypatch.setattr(timeline, "translator", noting)
    page = as_timeline(history(), "pt-BR")
    assert '<html lang="pt-BR">' in page
    assert cells_of(page)[1][1] == "4,30 s"
    untouched = {
        text for text, said in asked.items() if text == said and re.search(r"[a-z]{3} [a-z]", text)
    }
    assert untouched == set()
    assert set(timeline.TEXTS) == set(data_of(page)["texts"])


def test_the_script_asks_for_no_other_text():
    script = (timeline.HERE / "page.timeline.js").read_text("utf-8")
    asked = re.findall(r'\bt\("([^"]+)"\)', script)
    asked += [word for pair in re.findall(r't\([^)"]*"(\w+)" : "(\w+)"\)', script) for word in pair]
    assert set(asked) == set(timeline.TEXTS)


def test_another_language_is_english():
    assert '<html lang="en">' in as_timeline(history(), "xx<")


def test_without_jinja_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(PageUnavailableError, match=r"no jinja2: pip install jinja2$"):
        as_timeline(history())
