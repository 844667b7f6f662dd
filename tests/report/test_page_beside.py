"""Pictures against energy, the published beside one's own, and what was not measured."""

import re
import sys
from dataclasses import replace

import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.published import published_beside, published_formats
from wattbench.records import PictureCheck
from wattbench.report.html import as_html, write_page

from ..made_runs import CONDITION
from .made_folder import made_folder

STUDY = replace(CONDITION, height_px=1024, batch_size=1)


def section(page, key):
    return re.search(rf'<section[^>]*\bid="{key}".*?</section>', page, re.S)[0]


@pytest.fixture
def analysis(make_run):
    """Runs of conditions with the SSIM of their pictures to the first one's, and their seconds."""

    def make(ssims, study="", **changes):
        runs = []
        for attention, (ssim, denoise_s) in ssims.items():
            for seed in range(3):
                check = PictureCheck("a run" if ssim is not None else "", ssim=ssim)
                condition = replace(STUDY, attention=attention, **changes)
                run = make_run(
                    run_id=f"{attention} {seed}", denoise_s=denoise_s + 0.01 * seed, seed=seed
                )
                runs.append(replace(run, picture=check, condition=condition, study=study))
        return Analysis.of(runs)

    return make


def test_the_front_of_pictures_is_closer_or_cheaper(analysis):
    costs = {"sdpa": (None, 10.0), "sage": (0.98, 6.0), "split": (0.9, 8.0), "fp8": (0.5, 4.0)}
    text = section(as_html(analysis(costs)), "distance")
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.S)[1:]
    cells = [re.findall(r"<t[hd][^>]*>\s*(.*?)\s*</t[hd]>", row, re.S) for row in rows]
    assert [(row[1], row[-1]) for row in cells] == [
        ("0.000", "yes"),
        ("0.020", "yes"),
        ("0.100", "no"),
        ("0.500", "yes"),
    ]
    assert "<svg" in text


def test_without_distances_the_section_says_so(analysis):
    text = section(as_html(analysis({"sdpa": (None, 10.0)})), "distance")
    assert "No two conditions" in text
    assert "<svg" not in text


@pytest.mark.parametrize(
    ("changes", "study", "likeness"),
    [
        ({}, "", "same workload"),
        ({}, "edge_nodes 1a2b", "same plan"),
        ({"steps": 20}, "", "context only"),
        ({"weight_format": "nf4"}, "", "context only"),
        ({"batch_size": 2}, "edge_nodes 1a2b", "context only"),
        ({"width_px": 768}, "", None),
        ({"architecture": "flux"}, "", None),
    ],
)
def test_the_published_is_shown_with_its_likeness(analysis, changes, study, likeness):
    made = analysis({"sdpa": (None, 10.0)}, study, **changes)
    found = published_beside(made.conditions)
    assert [beside.likeness for beside in found] == ([likeness] if likeness else [])
    text = section(as_html(made), "published")
    if likeness is None:
        assert "sdxl-illustrious" not in text
        return
    assert f"tables 2 and 3. sdxl-illustrious: {likeness}" in text
    assert "RTX 5090" in text and "Radeon Pro VII (Neo)" in text
    (card,) = [card for card in found[0].cards if card.card == "RTX 3090"]
    assert card.time_s == pytest.approx(30 / 3.67)
    assert card.j_per_img == pytest.approx(3.6e6 / 1344.95)


def test_the_formats_of_the_benchmark_are_context(analysis):
    made = analysis({"sdpa": (None, 10.0)}, width_px=512)
    assert published_beside(made.conditions) == []
    found = published_formats(made.conditions)
    assert {one.model for one in found} == {"SDXL"}
    assert len(found) == 8
    (nf4,) = [one for one in found if one.weight_format == "nf4"]
    assert (nf4.s_per_img, nf4.peak_vram_bytes) == (3.91, 7.9e9)
    text = section(as_html(made), "published")
    assert "RTX PRO 6000 Blackwell (PyTorch 2.11, diffusers 0.38): context only" in text
    assert "SDXL, int4_gemm, 30" in text
    tiny = {"model": "synthetic sdxl tiny", "weights": "synthetic"}
    for changes in ({"steps": 29}, {"width_px": 511}, tiny):
        assert published_formats(analysis({"sdpa": (None, 10.0)}, **changes).conditions) == []
    assert published_beside(analysis({"sdpa": (None, 10.0)}, **tiny).conditions) == []


def test_cells_that_were_not_measured_are_listed_as_text(analysis, tmp_path):
    (tmp_path / "cells.csv").write_text(
        "cell,workload,status,visits,reason\na,w,measured,5,\n"
        'b,w,failed,1,"block 1: <b>out of memory</b>"\nc,w,skipped,0,no such file\n',
        "utf-8",
    )
    text = section(as_html(analysis({"sdpa": (None, 10.0)}), [tmp_path]), "skipped")
    assert "&lt;b&gt;out of memory" in text
    assert "no such file" in text
    assert len(re.findall("<tr>", text)) == 3
    (tmp_path / "cells.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(ValueError, match=r"cells\.csv lacks the columns"):
        as_html(analysis({"sdpa": (None, 10.0)}), [tmp_path])


def test_cells_with_a_word_for_a_number_are_refused(analysis, tmp_path):
    (tmp_path / "cells.csv").write_text(
        "cell,workload,status,visits,reason,s_per_img\na,w,measured,5,,fast\n", "utf-8"
    )
    with pytest.raises(ValueError, match=r"cells\.csv has a cell that is no number"):
        as_html(analysis({"sdpa": (None, 10.0)}), [tmp_path])


def test_a_folder_of_results_gets_its_page(make_run, tmp_path):
    assert write_page(made_folder(make_run, tmp_path)) == str(tmp_path / "report.html")
    assert "<svg" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_the_extra_a_line_says_so_and_nothing_fails(
    package, make_run, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    told = write_page(made_folder(make_run, tmp_path))
    assert told.startswith("no report.html: a page needs Jinja2 and matplotlib")
    assert f"no {package}" in told
    assert "\n" not in told
    assert not (tmp_path / "report.html").exists()


def test_a_file_that_is_something_else_fails_no_measurement(make_run, tmp_path):
    made_folder(make_run, tmp_path)
    (tmp_path / "verdict.json").write_text("[]", "utf-8")
    assert "verdict.json has no sentence" in write_page(tmp_path)
