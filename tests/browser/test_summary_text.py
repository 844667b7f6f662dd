"""What Show Summary gives as text, by keyboard and in the user's language."""

from __future__ import annotations

import csv
import re

import pytest
from graphs import benchmark
from playwright.sync_api import expect


def test_the_keyboard_reaches_and_copies_the_tables(shown, ran):
    page = shown.page
    first, second = (
        shown.body.get_by_role("group", name="What is compared").get_by_role("button").all()
    )
    shown.body.locator("summary", has_text="All numbers").press("Enter")
    stops = [
        second,
        shown.body.locator(".wattbench-beside button"),
        shown.body.locator("summary", has_text="All numbers"),
        shown.body.get_by_role("region", name="Summary"),
        shown.body.get_by_role("region", name="Phases"),
        shown.body.locator("summary", has_text="Steps and repeats"),
        shown.body.locator("summary", has_text="Notes"),
        shown.body.get_by_role("button", name="Copy as image"),
        shown.body.get_by_role("button", name="Copy as Markdown"),
    ]
    first.focus()
    for stop in stops:
        page.keyboard.press("Tab")
        expect(stop).to_be_focused()
        assert stop.evaluate("(e) => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(shown.body.get_by_role("status")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    rows = [line.strip("| ").split(" | ") for line in copied.splitlines() if line[0:1] == "|"]
    phases = ran.result["phases"]
    assert rows[0] == list(ran.result["headings"])
    assert rows[3] == list(phases["headings"])
    for row, cells in ((rows[2], ran.result["rows"][0]), (rows[5], phases["rows"][0])):
        assert [cell.split(" [")[0] for cell in row[1:]] == list(cells[1:])
    assert "- Not measured: Peak VRAM (GiB): the model ran on the CPU" in copied


def test_the_saved_csv_has_the_figures_of_the_tables(shown, ran):
    with shown.page.expect_download() as download:
        shown.body.get_by_role("button", name="Save as CSV").press("Enter")
    assert download.value.suggested_filename == "wattbench.csv"
    with download.value.path().open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["Condition"] == ran.result["rows"][0][0]
    figures = 0
    for table in (ran.result, ran.result["phases"]):
        for heading, cell in zip(table["headings"], table["rows"][0], strict=True):
            if cell == "—":
                assert row[heading] == ""
            elif " ± " in cell:
                value, half, *_ = cell.replace(" ± ", " ").split()
                assert (row[heading], row[f"{heading} ±"]) == (value, half)
                figures += 1
    assert figures > 10


def test_copying_works_without_the_clipboard_of_secure_pages(shown):
    page = shown.page
    page.evaluate("navigator.clipboard.writeText('before')")
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})"
    )
    try:
        shown.body.get_by_role("button", name="Copy as Markdown").press("Enter")
        expect(shown.body.get_by_role("status")).to_have_text("Copied.")
    finally:
        page.evaluate("delete navigator.clipboard")
    assert page.evaluate("navigator.clipboard.readText()").startswith("| Condition | n |")


@pytest.fixture
def in_portuguese(ran, opened):
    """Show Summary with the result of the real run, after a change of the language."""
    try:
        opened.frontend.speak("pt-BR")
        opened.open(benchmark(), "resumo")
        opened.give(ran.result)
        yield opened
    finally:
        opened.frontend.speak("en")


def test_texts_follow_the_language(in_portuguese):
    node, body = in_portuguese, in_portuguese.body
    assert node.page.evaluate(f"{node.js}.inputs[0].localized_name") == "execuções"
    expect(body.locator(".wattbench-where")).to_contain_text("% da energia vai para a ")
    expect(body.locator("dt").first).to_have_text("Tempo por imagem")
    node.unfold()
    expect(body.locator("thead th").first).to_have_text("Condição")
    expect(body.locator("table").first).to_contain_text("estimate (estimado)")
    expect(body).to_contain_text("Energia: estimado: ")
    expect(body).to_contain_text("× carga da CPU, não é uma medição")
    phases = body.locator(".wattbench-fold table").nth(1).inner_text()
    assert re.search(r"\d,\d+ ± \d", phases)
    assert not re.search(r"\d\.\d", phases)
    buttons = body.locator(".wattbench-actions").get_by_role("button")
    expect(buttons).to_have_text(["Copiar como imagem", "Copiar como Markdown", "Salvar como CSV"])
    buttons.nth(1).press("Enter")
    expect(body.get_by_role("status")).to_have_text("Copiado.")
    copied = node.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("| Condição | n |")
    assert "- Energia: estimado: " in copied


TEMPLATES = {
    "Board: …": "Placa: …",
    "clock changed: … to … MHz": "clock mudou: … a … MHz",
    "idle was … W, not measured": "repouso era … W, não medido",
    "no energy: short; too short": "sem energia: curto",
    "… (… of … runs)": "… (… de … execuções)",
    "power is now (field 186)": "potência do momento (campo 186)",
    "… is …": "… é …",
    "that file is … more": "aquele arquivo é … mais",
}


@pytest.mark.parametrize(
    ("said", "translated"),
    [
        ("Board: clock changed: 1.5 to 2.5 MHz", "Placa: clock mudou: 1,5 a 2,5 MHz"),
        (
            "a model 1.0: idle was 9..9.5 W, not measured",
            "a model 1.0: repouso era 9..9,5 W, não medido",
        ),
        (
            "power is now (field 186) (2 of 9 runs)",
            "potência do momento (campo 186) (2 de 9 execuções)",
        ),
        ("x; no energy: short; too short; y", "x; sem energia: curto; y"),
        ("no energy: short; too short; Board: y", "sem energia: curto; Placa: y"),
        ("nobody knows this: 1.5", "nobody knows this: 1,5"),
        ("that file is 1.5 more", "aquele arquivo é 1,5 mais"),
        ("a cat is black", "a cat é black"),
        ("", ""),
    ],
)
def test_sentences_are_translated_as_far_as_they_are_known(frontend, said, translated):
    call = """async ([templates, text]) => {
        const { createMessages } = await import("/extensions/wattbench/messages.js");
        const { decimal } = await import("/extensions/wattbench/format.js");
        return createMessages(templates, (value) => decimal("pt-BR", value))(text);
    }"""
    assert frontend.page.evaluate(call, [TEMPLATES, said]) == translated
