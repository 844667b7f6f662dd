"""The page of several cards: who is best at what, who makes the next images, the published."""

import random
import re
from dataclasses import replace

import pytest

from wattbench import cli
from wattbench.analysis.analysis import Analysis
from wattbench.fleet.sections import Question, sections_on_cards
from wattbench.records import MemoryReading
from wattbench.report import write_all
from wattbench.report.html import as_html

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

CARDS = {
    "GPU-11111111-1111-1111-1111-111111111111": ("NVIDIA GeForce RTX 3090", 10.0),
    "GPU-22222222-2222-2222-2222-222222222222": ("NVIDIA GeForce RTX 4090", 5.0),
    "GPU-33333333-3333-3333-3333-333333333333": ("NVIDIA GeForce RTX 3090", 20.0),
}
HOURS = re.compile(r"within ([\d.]+) h")


@pytest.fixture
def cards(make_run):
    """A function that makes runs of cards, of which one is as fast as the other is slow."""

    def make(count=3, idle_w=30.0, visits=3):
        rng = random.Random(1)
        return [
            make_run(
                f"{uuid[4]}{visit}",
                denoise_s=denoise_s * rng.uniform(0.99, 1.01),
                visit=visit,
                process_id=f"{uuid} {visit}",
                idle_power_w=idle_w,
                started_at=f"2026-11-20T09:00:{visit:02d}.{number:03d}+00:00",
                environment=replace(make_run().environment, gpu_uuid=uuid, gpu_name=name),
                vram=MemoryReading(10 * 2**30 + visit, 9.0 * 2**30, "sampled", 600),
            )
            for number, (uuid, (name, denoise_s)) in enumerate(list(CARDS.items())[:count])
            for visit in range(visits)
        ]

    return make


def page_of(runs, language="en", **asked):
    analysis = Analysis.of(runs)
    return as_html(analysis, (), language, added=sections_on_cards(analysis, Question(**asked)))


def section(page, name):
    found = re.search(rf'<section id="{name}".*?</section>', page, re.S)
    return found and re.sub(r"<svg.*?</svg>", "", found[0], flags=re.S)


def test_one_card_has_no_such_sections(cards):
    assert sections_on_cards(Analysis.of(cards(1)), Question()) == ()
    assert section(page_of(cards(1)), "cards") is None


def test_cards_stand_side_by_side_without_serial_numbers(cards):
    page = page_of(cards())
    assert "GPU-1" not in page
    told = section(page, "cards")
    for number in (1, 2, 3):
        assert f"350 W (card {number})" in told
    assert '<th scope="row">1. NVIDIA GeForce RTX 4090, 350 W (card 2)</th>' in told
    # A picture is batch 2 of 5 s and 2 s more, on the fastest card.
    assert re.search(r"Least time.*RTX 4090, 350 W \(card 2\), fp16, sdpa.*3\.[45]", told, re.S)
    assert "<td>10.00 ± 0.00</td>" in told


def test_energies_of_two_kinds_name_no_winner(cards):
    runs = cards(2)
    estimated = [
        replace(phase, energy=replace(phase.energy, method="estimated"))
        for phase in runs[-1].phases
    ]
    energy = replace(runs[-1].energy, method="estimated")
    other = [*runs[:-1], replace(runs[-1], phases=tuple(estimated), energy=energy)]
    assert "Least energy: not said, energies are of 2 kinds." in section(page_of(other), "cards")


def test_who_makes_the_next_images(cards):
    told = section(page_of(cards(), images=100), "next")
    assert "the next 100 images" in told
    hours = float(HOURS.search(told)[1])
    rows = re.findall(r"<th scope=\"row\">(.*?)</th>.*?<td>(\d+)</td><td>([\d.]+)</td>", told)
    assert {asked for asked, _, _ in rows} == {"least energy", f"within {hours:g} h", "least time"}
    for asked in {asked for asked, _, _ in rows}:
        assert sum(int(n) for name, n, _ in rows if name == asked) == 100
    longest = {asked: max(float(h) for name, _, h in rows if name == asked) for asked, _, _ in rows}
    assert longest["least time"] < longest[f"within {hours:g} h"] <= hours * 1.01
    assert longest["least energy"] > hours


def test_a_deadline_and_what_it_costs(cards):
    from wattbench.law.cost import Tariff

    asked = {"images": 100, "tariff": Tariff(price_per_kwh=0.5), "idle": "off"}
    told = section(page_of(cards(), deadline_s=360.0, **asked), "next")
    assert "within 0.1 h" in told
    assert "least time" not in told
    assert re.search(r"[\d.]+ EUR", told)
    assert "Cards without work are off." in told
    too_soon = section(page_of(cards(), deadline_s=1.0, **asked), "next")
    assert "these cards need at least" in too_soon


def test_what_is_not_known_is_said(cards):
    told = section(page_of(cards(idle_w=None)), "next")
    assert "The idle power of a card was not measured" in told
    runs = [replace(run, energy=None, energy_note="no meter") for run in cards()]
    assert "no row has both a time and an energy." in section(page_of(runs), "next")


def test_the_published_tables_have_each_card(cards):
    told = section(page_of(cards()), "edge-nodes")
    assert "Table 3: Illustrious (SDXL), 30 steps" in told
    for name in ("RTX 3090 no. 1", "RTX 3090 no. 2", "RTX 4090, sdpa"):
        assert f"yours: NVIDIA GeForce {name}" in told


def test_all_of_it_is_said_in_portuguese(cards):
    page = page_of(cards(), "pt-BR", images=100)
    for name in ("cards", "next", "edge-nodes"):
        text = re.sub(
            r"<[^>]*>|wattbench fleet plan|Published: .*?Generation", " ", section(page, name)
        )
        assert not re.search(
            r"\b(?:the|are|with|least|energy|time|cards|yours|not|work)\b", text
        ), name


def test_the_command_asks_the_planner(cards, tmp_path):
    write_all(cards(), tmp_path / "fleet")
    out = tmp_path / "page.html"
    given = ["report", str(tmp_path / "fleet"), "--out", str(out)]
    assert cli.main([*given, "--images", "50", "--deadline", "0.1", "--price", "0.3"]) == 0
    told = section(out.read_text("utf-8"), "next")
    assert "the next 50 images" in told
    assert "within 0.1 h" in told
    assert "EUR" in told
    assert cli.main([*given, "--price", "0.3", "--currency", "no word"]) == 2
