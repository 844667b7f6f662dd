"""``wattbench law`` as people and programs call it."""

import json
import sys

import pandas as pd
import pytest

from wattbench import cli
from wattbench.measure.law.data import STUDY_CSV


def law(capsys, *arguments):
    code = cli.main(["law", *map(str, arguments)])
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.mark.parametrize(
    ("model", "alpha", "beta_dtype", "r2"),
    [("flux", 0.989, 2.04, 1.0), ("sd3.5", 0.969, 1.9, 0.998), ("qwen", 0.992, 0.0, 0.994)],
)
def test_fit_answers_the_published_law_as_json(capsys, model, alpha, beta_dtype, r2):
    code, out, _ = law(capsys, "fit", STUDY_CSV, "--where", f"model={model}", "--json")
    facts = json.loads(out)
    assert code == 0
    assert set(facts["coefficients"]) == {"log_a", "alpha", "beta_dtype", "beta_gpu", "beta_res"}
    assert facts["coefficients"]["alpha"] == pytest.approx(alpha, abs=0.025)
    assert facts["coefficients"]["beta_dtype"] == pytest.approx(beta_dtype, abs=0.01)
    assert facts["r2"] == pytest.approx(r2, abs=0.025)
    assert facts["n"] == (40 if model == "qwen" else 80)


def test_fit_prints_terms_with_their_errors(capsys):
    code, out, _ = law(capsys, "fit", STUDY_CSV, "--where", "model=qwen", "--convention", "exact")
    assert code == 0
    assert "exact convention" in out
    assert ["beta_dtype", "0.0000", "not", "in", "the", "fit"] in [
        line.split() for line in out.splitlines()
    ]
    assert "(standard error)" in out


def test_predict_gives_an_interval(capsys):
    shape = ("--architecture", "flux", "--steps", 20, "--width", 768, "--height", 768)
    code, out, _ = law(capsys, "predict", *shape, "--json")
    facts = json.loads(out)
    energy = facts["energy_j_per_img"]
    assert code == 0
    assert energy["low"] < energy["value"] < energy["high"]
    # The study measured 1850 J with 512 rows of text; ComfyUI pads to 256.
    assert energy["value"] == pytest.approx(1850, rel=0.15)
    assert facts["duration_s_per_img"] is None
    code, out, err = law(capsys, "predict", "--architecture", "sdxl", "--steps", 30)
    assert "J per image (" in out
    assert "note: no data of sdxl" in err


def test_a_batch_is_told_per_image(capsys):
    shape = ("--architecture", "flux", "--steps", 20, "--json")
    one = json.loads(law(capsys, "predict", *shape)[1])
    four = json.loads(law(capsys, "predict", *shape, "--batch-size", 4)[1])
    assert four["flop_count"] > 3.9 * one["flop_count"]
    assert four["energy_j_per_img"]["value"] < one["energy_j_per_img"]["value"]


def test_calibrate_then_predict(capsys, tmp_path):
    shapes = [(1024, 30, 2700.0), (768, 30, 1400.0), (512, 20, 480.0)]
    rows = [
        {
            "architecture": "sdxl", "model": "illustrious.safetensors", "weights": "file",
            "weight_format": "fp16", "width_px": edge, "height_px": edge, "batch_size": 1,
            "steps": steps, "nfe": steps, "cfg": 7.0, "sampler": "euler", "is_warmup": False,
            "error": "", "gpu_name": "RTX 3090", "energy_j": joules, "energy_method": "counter",
            "text_encode_time_s": 0.1, "denoise_time_s": joules / 330, "decode_time_s": 0.3,
        }
        for edge, steps, joules in shapes
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "runs.csv", index=False)
    card = tmp_path / "card.json"
    code, out, _ = law(capsys, "calibrate", tmp_path / "runs.csv", "--out", card)
    assert code == 0
    assert "RTX 3090, 3 distinct conditions, law of J" in out
    assert "RTX 3090, 3 distinct conditions, law of s" in out
    shape = ("--architecture", "sdxl", "--steps", 30, "--cfg", 7, "--json")
    facts = json.loads(law(capsys, "predict", *shape, "--calibration", card)[1])
    assert facts["gpu"] == "RTX 3090"
    assert facts["energy_j_per_img"]["value"] == pytest.approx(2700, rel=0.1)
    assert facts["duration_s_per_img"]["value"] == pytest.approx(2700 / 330 + 0.4, rel=0.1)


def test_calibrate_refuses_what_is_no_measurement(capsys, tmp_path):
    table = pd.read_csv(STUDY_CSV).head(0)
    table.to_csv(tmp_path / "none.csv", index=False)
    code, _, err = law(capsys, "calibrate", tmp_path / "none.csv")
    assert code == 2
    assert "no row of" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "none.csv"), "there is no file none.csv"),
        (("fit", STUDY_CSV, "--where", "model=sdxl"), "no row of"),
        (("predict", "--architecture", "wan", "--steps", 4), "no FLOP formula for wan"),
        (("predict", "--architecture", "flux", "--steps", 4, "--gpu", "H100"), "H100"),
        (("predict", "--architecture", "flux", "--steps", 4, "--width", 1001), "multiple of 8"),
        (("predict", "--architecture", "flux", "--steps", 4, "--dtype", "int8"), "int8"),
        (
            ("predict", "--architecture", "flux", "--steps", 4, "--sampler", "dpm_adaptive"),
            "chooses its own steps",
        ),
        (
            ("predict", "--architecture", "flux", "--steps", 4, "--calibration", STUDY_CSV),
            "is no law",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused(capsys, arguments, message):
    code, out, err = law(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert message in err


def test_confidence_is_a_fraction(capsys):
    with pytest.raises(SystemExit):
        law(capsys, "predict", "--architecture", "flux", "--steps", 4, "--confidence", 90)


def test_reproduce_writes_tables_and_plots(capsys, tmp_path):
    code, _, _ = law(capsys, "reproduce", "--out", tmp_path)
    assert code == 0
    text = (tmp_path / "energy-law.md").read_text("utf-8")
    assert "| Flux | alpha | 0.981 | 0.989 | -0.008 |" in text
    for name in ("law_equation3.svg", "law_operator_law.svg"):
        assert (tmp_path / name).read_text("utf-8").count("<use ") > 280
        assert f"({name})" in text


def test_reproduce_without_matplotlib_says_what_to_install(capsys, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = law(capsys, "reproduce", "--out", tmp_path)
    assert code == 0
    assert "pip install 'wattbench[plots]'" in err
    assert "## Plots" not in (tmp_path / "energy-law.md").read_text("utf-8")


def test_reproduce_into_a_file_fails_with_a_reason(capsys, tmp_path):
    (tmp_path / "taken").write_text("")
    code, _, err = law(capsys, "reproduce", "--out", tmp_path / "taken")
    assert code == 1
    assert "cannot write" in err
