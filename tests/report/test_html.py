"""The page: what it says, and what it never does."""

import base64
import gzip
import hashlib
import io
import json
import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin
from scipy import stats

from wattbench.analysis.analysis import Analysis
from wattbench.records import KernelCalls, PictureCheck
from wattbench.report import read_runs, write_all
from wattbench.report.html import PageUnavailableError, as_html
from wattbench.report.page_sections import DOWNLOAD_BYTES
from wattbench.report.translation import PAGE_TEXTS

from .made_folder import UUID, made_folder, made_runs

HOSTILE = '"\'><img src=x onerror=alert(1)></script><script>alert(2)</script>{{7*7}}$x_1$ id="a"'
SECTIONS = [
    *("verdict", "pictures", "ratios", "trade-off", "distance", "quality", "published", "phases"),
    *("order", "ran", "environment", "skipped", "method", "raw"),
]
CANDIDATES = pd.DataFrame(
    {
        "candidate": ["as it is", "attention=sage", f"format={HOSTILE}"],
        "stage": ["finals", "finals", "screening"],
        "blocks": [6, 6, None],
        "ratio": [1.0, 0.712, None],
        "ratio_low": [None, 0.701, None],
        "ratio_high": [None, 0.723, None],
        "s_per_img": [5.0, 3.6, None],
        "j_per_img": [1000.0, 712.0, None],
        "peak_vram_bytes": [8 * 2**30, 7.5 * 2**30, None],
        "picture_share": [0.0, 0.012, None],
        "fault": ["", "", "the picture is black in /home/ada/out"],
    }
)


class Seen(HTMLParser):
    """The elements of a page with their attributes, and its text by section."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.section = [], {}, ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "section":
            self.section = dict(attributes)["id"]

    def handle_data(self, data):
        self.texts[self.section] = self.texts.get(self.section, "") + " " + data

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, section):
        return " ".join(self.texts[section].split())

    def download(self, name):
        (uri,) = [one["href"] for one in self.of("a") if one.get("download") == name]
        return base64.b64decode(uri.partition("base64,")[2])


@pytest.fixture
def analysis(make_run):
    return Analysis.of(made_runs(make_run))


def page_of(folder, *given, **options):
    return as_html(Analysis(read_runs(folder / "runs.csv")), [folder], *given, **options)


def test_all_sections_are_there_in_order(analysis):
    seen = Seen(as_html(analysis))
    assert [one["id"] for one in seen.of("section")] == SECTIONS
    assert len(seen.of("svg")) == 4
    assert "no pictures" in seen.text("pictures")


def test_figures_are_those_of_an_independent_script(make_run, tmp_path):
    """From the table that the page holds, by pandas and scipy alone."""
    seen = Seen(page_of(made_folder(make_run, tmp_path)))
    runs = pd.read_csv(io.BytesIO(seen.download("runs.csv")))
    costs = runs.pivot(index="seed", columns="attention", values="energy_j") / 2
    assert len(costs) == 5
    logs = np.log(costs["sage_2"] / costs["sdpa"])
    spread = logs.std(ddof=1) / math.sqrt(len(logs))

    def interval(confidence):
        half = stats.t.ppf((1 + confidence) / 2, len(logs) - 1) * spread
        return tuple(math.exp(logs.mean() + part) for part in (0, -half, half))

    less, most, least = (100 * (1 - ratio) for ratio in interval(1 - 0.05 / 2))
    together = f"{less:.2f} % less energy per image than sdpa ({least:.2f} to {most:.2f} %)"
    assert f"sage_2 takes {together}." in seen.text("verdict")
    alone = "{:.3f} ({:.3f} to {:.3f})".format(*interval(0.95))
    charts = [one["aria-label"] for one in seen.of("div") if one.get("role") == "img"]
    assert f"sage_2: {alone}" in charts[0]
    summary = pd.read_csv(io.BytesIO(seen.download("summary.csv")), index_col="attention")
    assert summary["j_per_img_mean"].to_dict() == pytest.approx(costs.mean().to_dict())


def test_the_page_asks_nobody_for_anything(make_run, tmp_path):
    folder = made_folder(make_run, tmp_path, model=HOSTILE)
    page = page_of(folder)
    for tag, attributes in Seen(page).elements:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href"):
                assert value.startswith(("#", "data:")), (tag, value)
            assert set(re.findall(r"url\((.)", value or "")) <= {"#"}
    assert "http" not in re.sub(r"http-equiv", "", re.sub(r"base64,[^\"]*", "", page))


def test_only_the_pages_own_script_may_run(analysis):
    page = as_html(analysis)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [
        one["content"]
        for one in Seen(page).of("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; ")
    assert f"script-src 'sha256-{digest}'" in policy


def test_hostile_text_is_shown_as_text(make_run, tmp_path):
    folder = made_folder(make_run, tmp_path, model=HOSTILE)
    write_tuned(folder)
    page = page_of(folder)
    seen = Seen(page)
    assert seen.of("img") == []
    assert len(seen.of("script")) == 1
    for section in ("verdict", "ratios", "trade-off", "ran"):
        assert HOSTILE in seen.text(section), section


def test_charts_show_hostile_text_as_text(make_run, tmp_path):
    runs = made_runs(make_run)
    runs = [
        replace(r, condition=replace(r.condition, attention=f"{r.condition.attention} $a$<b>"))
        for r in runs
    ]
    seen = Seen(as_html(Analysis.of(runs)))
    assert seen.of("b") == []
    assert "sage_2 $a$<b>" in seen.text("phases")


def test_two_charts_share_no_name(analysis):
    names = [
        attributes["id"] for _, attributes in Seen(as_html(analysis)).elements if "id" in attributes
    ]
    assert len(names) == len(set(names))


PLACES = [
    "/home/ada/ComfyUI/x",
    r"C:\Users\Ada Lovelace\x",
    "192.168.1.77",
    "ada@box-7",
    "http://box-7:8188/x",
]


@pytest.mark.parametrize("place", PLACES)
def test_no_place_or_person_is_in_the_page(make_run, tmp_path, place):
    runs = made_runs(make_run, vram_note=f"cannot open {place}: refused", study=place)
    failed = replace(runs[0], run_id="failed", error=f"no such file: {place}")
    write_all([*runs, failed], tmp_path)
    page = page_of(tmp_path)
    plain = page + Seen(page).download("runs.csv").decode()
    assert "cannot open" in plain
    assert "no such file" in plain
    for word in ("ada", "Ada", "Lovelace", "box-7", "192.168", UUID, UUID[4:]):
        assert not re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", plain), word
    assert str(tmp_path) not in plain
    assert "card 1" in plain


def test_cards_that_differ_stay_apart(make_run, tmp_path):
    runs = made_runs(make_run)
    other = [
        replace(r, run_id=f"{r.run_id} b", environment=replace(r.environment, gpu_uuid="GPU-2"))
        for r in runs
    ]
    given = Analysis.of([*runs, *other])
    seen = Seen(as_html(given))
    assert len(pd.read_csv(io.BytesIO(seen.download("summary.csv")))) == len(given.summary) == 6
    assert "card 2" in seen.text("environment")


def write_picture(path, **texts):
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key, json.dumps(value))
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((700, 900, 3), 90, "uint8")).save(path, pnginfo=info)


GRAPH = {"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a <b>moth</b>"}}}


@pytest.mark.parametrize("with_prompts", [False, True])
def test_pictures_stand_beside_their_cost(make_run, tmp_path, with_prompts):
    write_picture(tmp_path / "pictures" / "a.png", prompt=GRAPH)
    made_folder(make_run, tmp_path, picture_file="pictures/a.png")
    seen = Seen(page_of(tmp_path, with_prompts=with_prompts))
    assert [(one["width"], one["height"]) for one in seen.of("img")] == [("360", "280")] * 3
    data = base64.b64decode(seen.of("img")[0]["src"].partition("base64,")[2])
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert "J/img" in seen.text("pictures")
    assert ("a <b>moth</b>" in seen.text("pictures")) is with_prompts


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "pictures/none.png", "pictures"])
def test_no_picture_comes_from_outside_the_folder(make_run, tmp_path, name):
    write_picture(tmp_path / "secret.png")
    (tmp_path / "results" / "pictures").mkdir(parents=True)
    made_folder(make_run, tmp_path / "results", picture_file=name)
    assert Seen(page_of(tmp_path / "results")).of("img") == []


def test_a_broken_picture_is_left_out(make_run, tmp_path):
    made_folder(make_run, tmp_path)
    write_picture(tmp_path / "pictures" / "b.png")
    (tmp_path / "pictures" / "a.png").write_bytes(b"\x89PNG no picture")
    seen = Seen(page_of(tmp_path))
    assert len(seen.of("img")) == 1
    assert "does not say which run made it" in seen.text("pictures")


def write_tuned(folder, **changes):
    verdict = {
        "sentence": f"Set attention=sage: 0.712 x the joules, of {HOSTILE}.",
        "settings": {"attention": "sage"},
        "objective": "j_per_img",
        "rule": "at least 2 % less",
        "left_out": [{"lever": "format", "value": "fp8", "reason": "needs /opt/cuda here"}],
        **changes,
    }
    (folder / "verdict.json").write_text(json.dumps(verdict), "utf-8")
    CANDIDATES.to_csv(folder / "candidates.csv", index=False)


def test_the_verdict_of_a_search_leads(make_run, tmp_path):
    made_folder(make_run, tmp_path)
    write_tuned(tmp_path)
    seen = Seen(page_of(tmp_path))
    verdict, ratios = seen.text("verdict"), seen.text("ratios")
    assert verdict.startswith("Verdict Set attention=sage: 0.712 x the joules")
    assert "reason: needs [path] here" in verdict
    assert "attention=sage finals 6 0.712 (0.701 to 0.723) 3.6 712 7.50 1.2%" in ratios
    assert "the picture is black in [path]" in ratios
    assert list(pd.read_csv(io.BytesIO(seen.download("candidates.csv")))["ratio"])[1] == 0.712


def test_a_ratio_that_is_no_number_is_blank(make_run, tmp_path):
    made_folder(make_run, tmp_path)
    write_tuned(tmp_path)
    given = CANDIDATES.assign(ratio=[1.0, math.inf, 0.9], ratio_high=[None, 1.0, math.inf])
    given.to_csv(tmp_path / "candidates.csv", index=False)
    ratios = Seen(page_of(tmp_path)).text("ratios")
    assert "attention=sage finals 6 — 3.6 712" in ratios
    assert "screening — 0.900 — —" in ratios


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "verdict.json cannot be read"), ("[]", "no sentence"), ('{"sentence": 3}', "no sente")],
)
def test_a_verdict_that_is_none_is_refused(make_run, tmp_path, text, words):
    made_folder(make_run, tmp_path)
    (tmp_path / "verdict.json").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=words):
        page_of(tmp_path)


def test_what_is_missing_is_said(make_run):
    bare = replace(
        make_run(), phases=(), energy=None, energy_note="no meter", samplings=(), idle_power_w=None
    )
    seen = Seen(as_html(Analysis.of([bare])))
    assert "nothing to compare it with" in seen.text("verdict")
    assert "has both a time and an energy" in seen.text("trade-off")
    assert "No phase" in seen.text("phases")
    assert "No kernel" in seen.text("ran")
    assert "no meter" in seen.text("ratios")
    assert seen.of("svg") == []


def test_no_runs_make_a_page_too(make_run):
    seen = Seen(as_html(Analysis.of([make_run(is_warmup=True)])))
    assert [one["id"] for one in seen.of("section")] == SECTIONS
    assert "No run of the baseline counts" in seen.text("verdict")


@pytest.mark.parametrize("spoilt", ["picture", "fall-back"])
def test_a_saving_that_is_none_wins_nothing(make_run, spoilt):
    runs = []
    for run in made_runs(make_run):
        if run.condition.attention == "sage_2" and spoilt == "picture":
            run = replace(run, picture=PictureCheck("", "the picture is black"))
        elif run.condition.attention == "sage_2":
            fallen = KernelCalls("attention", "sage_2", "sdpa", 9, None, "a mask")
            run = replace(run, kernel_calls=(fallen,))
        runs.append(run)
    seen = Seen(as_html(Analysis.of(runs)))
    assert seen.text("verdict").startswith("Verdict Keep sdpa: all others are worse.")
    assert "Not in the verdict sage_2" in seen.text("verdict")


def test_the_page_speaks_portuguese(analysis, monkeypatch):
    """Every text of the page itself; what the user named stays."""
    asked = set()
    from wattbench.report import html

    real = html.translator

    def watched(language):
        say = real(language)

        def heard(text):
            asked.add((text, say(text)))
            return say(text)

        return heard

    monkeypatch.setattr(html, "translator", watched)
    page = as_html(analysis, (), "pt-BR")
    assert '<html lang="pt-BR">' in page
    seen = Seen(page)
    assert "sage_2 gasta 16,72 % menos energia por imagem" in seen.text("verdict")
    assert "8.6" in seen.text("environment")
    untouched = {
        text for text, said in asked if text == said and re.search(r"[a-z]{3} [a-z]", text)
    }
    assert untouched == set()


def test_texts_have_as_many_values_in_both_languages():
    texts = json.loads(PAGE_TEXTS.read_text("utf-8"))
    assert [text for text in texts if text.count("…") != texts[text].count("…")] == []


def test_a_table_too_large_for_a_page_is_left_out(make_run, monkeypatch):
    analysis = Analysis.of(made_runs(make_run))
    seen = Seen(as_html(analysis))
    size = sum(len(one["href"]) for one in seen.of("a") if "download" in one)
    monkeypatch.setattr("wattbench.report.page_sections.DOWNLOAD_BYTES", size)
    assert Seen(as_html(analysis)).download("runs.csv")
    monkeypatch.setattr("wattbench.report.page_sections.DOWNLOAD_BYTES", size - 1)
    assert "too large for a page" in Seen(as_html(analysis)).text("raw")


def test_a_large_page_stays_below_a_megabyte(make_run):
    page = as_html(Analysis.of(made_runs(make_run, seeds=20)))
    packed = Seen(page).download("runs.csv.gz" if "runs.csv.gz" in page else "runs.csv")
    text = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed
    assert len(pd.read_csv(io.BytesIO(text))) == 60
    assert len(page) < 500_000 + DOWNLOAD_BYTES


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_its_packages_it_says_what_to_install(analysis, monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PageUnavailableError, match=f"no {package}: pip install jinja2 matplotlib"):
        as_html(analysis)
