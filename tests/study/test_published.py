"""Pages beside published figures: their layout, the own rows in it, and how alike they are."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from wattbench import cli
from wattbench.analysis.analysis import Analysis
from wattbench.law.data import STUDY_CSV
from wattbench.records import KernelCalls, MemoryReading, Quality
from wattbench.report import write_all
from wattbench.study.published import PAGES
from wattbench.study.published.page import OWN_COLOUR

from ..made_runs import CONDITION, ENVIRONMENT, make_phases, reading, sampling_of

SDXL = {
    "architecture": "sdxl",
    "weights": "file",
    "weight_format": "fp16",
    "width_px": 1024,
    "height_px": 1024,
    "batch_size": 1,
    "steps": 30,
    "cfg": 7.5,
    "sampler": "euler",
}
SECONDS = 10.0


@pytest.fixture
def runs_of(make_run):
    """A function that makes three runs of a condition, of ``denoise_s`` and ``power_w``."""

    def make(name, denoise_s=SECONDS, power_w=200.0, changes=None, **settings):
        condition = replace(CONDITION, **{**SDXL, **settings})
        return [
            make_run(
                f"{name} {n}",
                denoise_s=denoise_s,
                condition=condition,
                seed=n,
                repeat=n,
                energy=reading(denoise_s + 2, power_w * (1 + n / 1000)),
                vram=MemoryReading(9 * 2**30 + n * 2**20, 9e9, "nvml:0", 10),
                **(changes or {}),
            )
            for n in range(3)
        ]

    return make


def table_of(text, title):
    """Rows of the table below a heading, as lists of cells."""
    section = text.split(f"## {title}")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return rows[0], rows[2:], section


def page(name, runs):
    return PAGES[name].markdown(Analysis.of(runs))


def test_edge_nodes_has_the_published_layout_and_the_own_rows(runs_of):
    text = page("edge-nodes", runs_of("own"))
    heading, rows, section = table_of(text, "Table 3: Illustrious (SDXL), 30 steps")
    assert heading == ["GPU", "It/s ± stdev", "Img/kWh ± stdev", "CI It/s", "Likeness"]
    assert rows[0] == ["RTX 5090", "9.83 ± 0.18", "2616.1 ± 50.99", "0.129", "published"]
    assert len(rows) == 8
    own = rows[-1]
    assert own[0].startswith(f"yours: {ENVIRONMENT.gpu_name}")
    # 30 steps in 10 s; 12 s at 200 W, then 0.1 and 0.2 % more.
    assert own[1] == "3.000 ± 0.000"
    joules = [2400.0, 2402.4, 2404.8]
    assert own[2] == (
        f"{np.mean([3.6e6 / j for j in joules]):.2f} ± "
        f"{np.std([3.6e6 / j for j in joules], ddof=1):.2f}"
    )
    assert own[-1] == "the same settings"
    assert "3 it/s: above RTX 3090 @ 180W (1.83) and below RTX 3090 (3.67)." in section
    assert "1499 img/kWh: above RTX 3090 (1344.95) and below RTX 5070 (1819.18)." in section


def test_peak_vram_has_both_workloads_side_by_side(runs_of):
    text = page("edge-nodes", runs_of("own"))
    heading, rows, _ = table_of(text, "Table 4 and Figure 1: peak VRAM")
    assert heading == ["GPU", "SDXL peak", "stdev", "CI", "Z-Image peak", "stdev", "CI", "Likeness"]
    assert rows[0][:7] == ["RTX 5090", "10.15", "0.034", "0.025", "14.73", "0.03", "0.022"]
    assert len(rows) == 7
    assert rows[-1][1:7] == ["9.001", "0.001", "0.002", "—", "—", "—"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cfg": 1.0}, "other work: cfg 1.0, not 7.5"),
        ({"steps": 29}, "steps 29, not 30"),
        ({"weights": "synthetic"}, "the same settings, random weights"),
        ({"weights": "synthetic", "model": "synthetic sdxl tiny"}, "other work: a tiny model"),
        ({"architecture": "sdxl_other_size"}, "architecture sdxl_other_size, not sdxl"),
    ],
)
def test_how_alike_the_work_is_stands_in_the_row(runs_of, settings, words):
    text = page("edge-nodes", runs_of("own", **settings))
    _, rows, section = table_of(text, "Table 3")
    assert words in rows[-1][-1]
    is_alike = settings == {"weights": "synthetic"}
    assert ("None of your rows is the published work" in section) is not is_alike


def test_a_synthetic_name_of_the_architecture_is_the_architecture(runs_of):
    settings = {"architecture": "z_image_turbo", "weights": "synthetic", "cfg": 1.0, "steps": 8}
    settings |= {"sampler": "res_multistep", "scheduler": "linear_quadratic"}
    text = page("edge-nodes", runs_of("own", weight_format="float8_e4m3fn", **settings))
    _, rows, _ = table_of(text, "Table 2")
    assert rows[-1][-1] == "the same settings, random weights"


def test_no_rank_is_told_of_cards_beyond_the_published(runs_of):
    fast = page("edge-nodes", runs_of("own", denoise_s=1.0, power_w=100.0))
    _, _, section = table_of(fast, "Table 3")
    assert "30 it/s: above RTX 5090 (9.83)." in section
    assert "percent" not in fast.lower()


@pytest.fixture
def formats(runs_of):
    def asked(name, fell=""):
        calls = KernelCalls("linear", name, name if not fell else "bf16", 700, None, fell)
        return {
            "kernel_calls": (calls,),
            "quality": (Quality("sharpness", 431.4, ""), Quality("clip_score", 0.29, "", "m")),
        }

    def sized(runs, count):
        condition = runs[0].condition
        sampling = replace(sampling_of(condition, SECONDS), model_bytes=count)
        return [replace(run, samplings=(sampling,)) for run in runs]

    plain = sized(runs_of("16", changes=asked("fp16"), cfg=7.0), 5_000_000_000)
    fp8 = runs_of("8", 8.0, 180.0, asked("fp8"), weight_format="fp8", cfg=7.0)
    int4 = runs_of("4", 20.0, 200.0, asked("int4_gemm", "no"), weight_format="int4_gemm", cfg=7.0)
    return [*plain, *sized(fp8, 2_500_000_000), *sized(int4, 1_500_000_000)]


def test_formats_have_the_published_layout_and_a_column_of_truth(formats):
    text = page("quantization", formats)
    heading, rows, _ = table_of(text, "Table 3: results")
    assert heading[:10] == [
        *("Model", "Quant", "Avg time (s)", "s/step", "Steps", "VRAM peak (GB)"),
        *("VRAM model (GB)", "Sharpness", "Colorfulness", "CLIP score"),
    ]
    assert len(rows) == 37 + 3
    published = "3.70 0.1235 30 11.1 6.9 431.4 53.7 0.2924 — published"
    at = rows.index(["SDXL", "fp16", *published.split()])
    own = rows[at + 1]
    assert own[:10] == [
        *("yours: SDXL", "fp16", "12.00", "0.4000", "30", "9.7", "5.0", "431.4", "—", "0.2900")
    ]
    assert own[10:] == ["fp16: 700", "the same settings"]


def test_formats_against_their_16_bits(formats):
    _, rows, _ = table_of(page("quantization", formats), "Table 2: what each format does")
    assert rows == [
        ["SDXL", "fp8", "0.50", "0.68", "0.83", "2.33", "fp8: 700"],
        ["SDXL", "int4_gemm", "0.30", "1.06", "1.83", "3.65", "fell back: bf16: 700"],
    ]
    _, rows, section = table_of(page("quantization", formats[3:]), "Table 2")
    assert rows == []
    assert "No format has its 16 bits beside it" in section


def test_a_law_of_own_runs_stands_beside_table_1(runs_of, tmp_path):
    """Energies in proportion to the steps: alpha is 1, precision and resolution tell nothing."""
    runs = []
    for steps in (10, 20, 30, 40, 50):
        time_s = steps / 10
        phases = [
            replace(phase, nfe=steps) if phase.name == "denoise" else phase
            for phase in make_phases(time_s)
        ]
        power_w = 100.0 * steps / (time_s + 2)
        runs += runs_of(f"s{steps}", time_s, power_w, {"phases": tuple(phases)}, steps=steps)
    text = page("energy-law", runs)
    heading, rows, section = table_of(text, "Table 1: coefficients of equation 3")
    assert heading == ["Model", "Term", "Yours", "Published"]
    assert [row[1] for row in rows] == ["log A", "alpha", "beta_dtype", "beta_res", "R²"]
    alpha = float(rows[1][2].split(" ± ")[0])
    assert alpha == pytest.approx(1, abs=0.02)
    assert rows[2][2] == "not in the fit"
    assert "net of idle power, of an A100" in section
    _, rows, _ = table_of(text, "Figure 2")
    assert float(rows[0][2]) > 0.99
    written = PAGES["energy-law"].write(Analysis.of(runs), tmp_path / "study.md")
    assert [file.name for file in written] == ["study.md", "figure2_within_one_model.svg"]
    svg = written[1].read_text("utf-8")
    assert "<svg" in svg and "](figure2_within_one_model.svg)" in written[0].read_text("utf-8")
    _, rows, _ = table_of(text, "Figure 6")
    assert [row[-1] for row in rows] == ["1.00", "2.00", "3.00", "4.00", "5.00"]


def test_runs_that_allow_no_law_say_why(runs_of):
    unknown = [replace(run, energy=None) for run in runs_of("own")]
    assert "No law: " in page("energy-law", unknown)
    few = page("energy-law", runs_of("own"))
    assert "has no fit: 3 rows are too few or too alike" in few


def test_without_matplotlib_the_page_says_so(runs_of, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    written = PAGES["edge-nodes"].write(Analysis.of(runs_of("own")), tmp_path / "study.md")
    assert written == [tmp_path / "study.md"]
    assert "not drawn, plots need matplotlib: pip install" in written[0].read_text("utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_no_runs_is_a_page(name):
    assert page(name, []).startswith("# Your runs beside")


def test_the_command_makes_the_page_of_runs_at_hand(runs_of, tmp_path, capsys):
    write_all(runs_of("own"), tmp_path / "runs")
    out = tmp_path / "page"
    assert (
        cli.main(["study", "edge-nodes", "--from", str(tmp_path / "runs"), "--out", str(out)]) == 0
    )
    files = [out / "study.md", out / "figure1_peak_vram.svg"]
    assert capsys.readouterr().out.splitlines() == [str(file) for file in files]
    text = files[0].read_text("utf-8")
    assert "the same settings" in text
    assert "yours in blue](figure1_peak_vram.svg)" in text
    assert files[1].read_text("utf-8").count(OWN_COLOUR) == 1
    table = tmp_path / "runs" / "runs.csv"
    assert cli.main(["study", "quantization", "--from", str(table), "--out", str(out)]) == 0
    assert "Table 3: results" in (out / "study.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "missing.csv"), "cannot be read"),
        (("--from", STUDY_CSV), "is not a runs.csv"),
        (("--from", STUDY_CSV, "--tiny"), "--from measures nothing"),
        (("--from", STUDY_CSV, "--resume"), "--from measures nothing"),
    ],
)
def test_what_cannot_be_a_page_is_refused(arguments, words, tmp_path, capsys):
    code = cli.main(["study", "edge-nodes", *map(str, arguments), "--out", str(tmp_path / "page")])
    assert (code, words in capsys.readouterr().err) == (2, True)
