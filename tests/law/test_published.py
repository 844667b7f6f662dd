"""``docs/published.md``: its figures are what the published tables and the FLOP formulas give."""

import math
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from wattbench.law.data import DATA
from wattbench.law.flop import FORMULAS

PAGE = (Path(__file__).parents[2] / "docs" / "published.md").read_text("utf-8")
SECTIONS = dict(zip(("", "edge", "law", "formats"), PAGE.split("\n## "), strict=True))
HALF_WIDTH = stats.t.ppf(0.975, 9) / math.sqrt(10)
J_PER_KWH = 3.6e6
SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
STEPS = {"z-image-turbo": 8, "sdxl-illustrious": 30}


@pytest.fixture(scope="module")
def edge():
    return pd.read_csv(DATA / "edge_nodes.csv").set_index(["workload", "gpu"])


@pytest.fixture(scope="module")
def formats():
    return pd.read_csv(DATA / "quant_bench_rtx_pro_6000.csv").set_index(["model", "quant"])


def forward_tflop(architecture, tokens):
    return FORMULAS[architecture].evaluation(1024, 1024, tokens).flops / 1e12


def holds(section, *figures):
    words = " ".join(SECTIONS[section].split())
    return [figure for figure in figures if figure not in words]


def test_only_one_guidance_is_possible(edge):
    rate = edge.loc[("z-image-turbo", "RTX 3090"), "it_per_s"]
    one = forward_tflop("z_image", 128)
    assert rate * one < 71 < 2 * rate * one
    sdxl = forward_tflop("sdxl", 77)
    both = 2 * sdxl * edge.loc[("sdxl-illustrious", "RTX 3090"), "it_per_s"]
    figures = (f"{one:.1f}", f"{rate * one:.1f}", f"{2 * rate * one:.1f}", f"{sdxl:.2f}")
    assert holds("edge", *figures, f"{both:.1f} TFLOP/s") == []


def test_the_intervals(edge):
    row = edge.loc[("sdxl-illustrious", "Radeon Pro VII (Neo)")]
    expected = HALF_WIDTH * row.it_per_s_stdev
    figures = (
        f"{HALF_WIDTH:.3f} {SIGMA}",
        f"{expected:.3f}",
        f"{row.it_per_s_ci95 / HALF_WIDTH:.3f}",
    )
    share = row.it_per_s_stdev / row.it_per_s
    assert holds("edge", *figures, f"{share:.0%}".replace("%", " %")) == []
    others = edge.loc["sdxl-illustrious"].drop("Radeon Pro VII (Neo)")
    assert (others.it_per_s_stdev / others.it_per_s).max() < 0.02
    # All other intervals follow from their standard deviation, as both are rounded.
    rest = edge.drop(("sdxl-illustrious", "Radeon Pro VII (Neo)")).dropna()
    digits = [
        0.0005 if cell < 0.1 and round(cell, 2) != cell else 0.005 for cell in rest.it_per_s_stdev
    ]
    off = abs(rest.it_per_s_ci95 - HALF_WIDTH * rest.it_per_s_stdev)
    assert (off <= HALF_WIDTH * pd.Series(digits, rest.index) + 0.0006).all()
    vram = pd.read_csv(DATA / "edge_nodes_peak_vram.csv")
    off = abs(vram.ci95 - HALF_WIDTH * vram.stdev)
    [row] = vram[off > HALF_WIDTH * 0.0005 + 0.0005].itertuples()
    assert (row.workload, row.gpu) == ("z-image-turbo", "RTX 3090")
    assert holds("edge", f"{SIGMA} {row.stdev} GB, hence {HALF_WIDTH * row.stdev:.3f}") == []


def test_gain_power_memory_and_prompts(edge):
    sdxl = edge.loc["sdxl-illustrious"]
    forge, neo = sdxl.loc["Radeon Pro VII (Forge)"], sdxl.loc["Radeon Pro VII (Neo)"]
    gains = [neo[c] / forge[c] - 1 for c in ("it_per_s", "img_per_kwh")]
    assert holds("edge", *(f"{100 * gain:.1f} %" for gain in gains)) == []
    for workload, gpu in (
        ("sdxl-illustrious", "Radeon Pro VII (Neo)"),
        ("z-image-turbo", "Radeon Pro VII"),
        ("sdxl-illustrious", "RTX 3090 @ 180W"),
        ("z-image-turbo", "RTX 3090 @ 180W"),
    ):
        row = edge.loc[(workload, gpu)]
        power_w = J_PER_KWH / row.img_per_kwh * row.it_per_s / STEPS[workload]
        assert holds("edge", f"{power_w:.0f} W") == []
    vram = pd.read_csv(DATA / "edge_nodes_peak_vram.csv").set_index(["workload", "gpu"])
    peaks = [
        vram.loc[("z-image-turbo", g), "peak_vram_gb"] for g in ("RTX 3090", "RTX 3090 (180W)")
    ]
    assert holds("edge", *(f"{peak:.2f} GB" for peak in peaks)) == []
    assert holds("edge", f"14.73 GB is {14.73e9 / 2**30:.2f} GiB") == []
    few, many = forward_tflop("z_image", 12), forward_tflop("z_image", 512)
    assert holds("edge", f"{few:.1f} TFLOP", f"{many:.1f}", f"{100 * (many / few - 1):.0f} %") == []


def test_the_energy_law():
    table = pd.read_csv(DATA / "energy_a100.csv")
    assert set(table.prompts) == {100}
    ends = table.groupby("model").energy_j.agg(["min", "max"])
    qwen = ends.loc["qwen"]
    assert (
        holds("law", f"{qwen['min'] / 100:.0f} J", f"factor of {qwen['max'] / qwen['min']:.0f}")
        == []
    )
    assert f"{qwen['min'] / 100 / 3600:.3f}" == "0.051"
    assert f"{qwen['max'] / 100 / 3600:.2f}" == "3.58"
    assert (ends.loc["flux", "max"], ends.loc["sd3.5", "max"]) == (1.21e7, 5.33e6)
    assert holds("law", "1.21 · 10⁷", "5.33 · 10⁶", f"e^2.04 = {math.exp(2.04):.2f}") == []


def test_the_table_of_formats(formats):
    rows = [line.split("|")[1:-1] for line in SECTIONS["formats"].splitlines() if "| `" in line]
    assert len(rows) == 7
    for name, _, *cells in rows:
        quant = name.strip(" `")
        expected = []
        for column in ("model_vram_gb", "avg_time_s"):
            for model in ("SDXL", "Flux.1 Dev"):
                own, base = formats.loc[(model, quant)], formats.loc[(model, "fp16")]
                expected.append(f"{own[column] / base[column]:.2f}")
        found = [cell.strip() for cell in (*cells[:2], *cells[3:])]
        assert found == expected, quant


def test_the_remarks_on_formats(formats):
    gemm = formats.xs("int4_gemm", level="quant").avg_time_s
    ratios = gemm / formats.xs("fp16", level="quant").avg_time_s.loc[gemm.index]
    assert holds("formats", f"{ratios.min():.1f} to {ratios.max():.1f} times") == []
    lcm = formats.loc["LCM-SDXL"].drop("int8")
    broken = formats.loc[("LCM-SDXL", "int8")]
    assert holds("formats", f"{broken.clip_score:.3f}", f"{broken.sharpness}", "27.0") == []
    assert lcm.clip_score.min() > 0.28
    assert lcm.sharpness.min() > 540
    assert lcm.colorfulness.min() > 46
    assert formats.loc["SDXL"].sharpness.idxmax() == "int4_gemm"
    assert formats.loc["Flux.1 Dev"].sharpness.idxmin() == "int4_gemm"
    two, four = (formats.loc[(f"SDXL Lightning ({n}-step)", "fp16"), "avg_time_s"] for n in (2, 4))
    step_s = (four - two) / 2
    assert (
        holds("formats", f"{step_s:.2f} s a step", f"{two - 2 * step_s:.2f} s for the rest") == []
    )
    faster = formats.avg_time_s < formats.avg_time_s.groupby(level=0).transform("first")
    assert {model for model, quant in formats[faster].index if quant == "fp8_static"} == {
        "Flux.1 Dev",
        "Flux.1 Schnell",
    }
    assert {quant for _, quant in formats[faster].index} == {"fp8_static"}
    assert formats.xs("fp8_static", level="quant").clip_score.isna().all()
