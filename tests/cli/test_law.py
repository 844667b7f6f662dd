"""``wattbench law`` as people and programs call it."""

import json
import math
import sys

import pandas as pd
import pytest

from wattbench import cli
from wattbench.law.data import STUDY_CSV
from wattbench.law.flop import DEFAULT_CFG, FORMULAS, flop_count


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
    assert ", 90% interval) per image, " in out
    assert "so the interval is wide: sdxl was not measured" in err


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
            "energy_meter": "nvml:0", "attention": "sdpa", "optimizations": "",
            "power_limit_w": 350.0,
            "text_encode_time_s": 0.1, "denoise_time_s": joules / 330, "decode_time_s": 0.3,
        }
        for edge, steps, joules in shapes
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "runs.csv", index=False)
    card = tmp_path / "card.json"
    code, out, _ = law(capsys, "calibrate", tmp_path / "runs.csv", "--out", card)
    assert code == 0
    assert "RTX 3090, 3 distinct conditions, gross energies, law of J" in out
    assert "RTX 3090, 3 distinct conditions, gross energies, law of s" in out
    shape = ("--architecture", "sdxl", "--steps", 30, "--cfg", 7, "--json")
    facts = json.loads(law(capsys, "predict", *shape, "--calibration", card)[1])
    assert facts["gpu"] == "RTX 3090"
    assert facts["energy_j_per_img"]["value"] == pytest.approx(2700, rel=0.1)
    assert facts["duration_s_per_img"]["value"] == pytest.approx(2700 / 330 + 0.4, rel=0.1)


def test_fit_takes_the_energy_that_is_asked_for(capsys, tmp_path):
    """An exact law of net energy with 50 W of idle power on top is exact in net energies only."""
    rows = []
    for edge in (512, 768, 1024):
        for steps in (10, 20, 40):
            flops = flop_count("flux", edge, edge, steps).denoise
            net_j, seconds = 2e-12 * flops, flops / 1e14 + 1.0
            rows.append(
                {
                    "architecture": "flux", "model": "f", "weights": "file",
                    "weight_format": "fp16",
                    "width_px": edge, "height_px": edge, "batch_size": 1, "steps": steps,
                    "nfe": steps, "cfg": 1.0, "sampler": "euler", "is_warmup": False, "error": "",
                    "gpu_name": "Card", "energy_j": net_j + 50 * seconds, "energy_net_j": net_j,
                    "denoise_energy_j": 1.5 * net_j, "energy_method": "counter",
                    "energy_meter": "nvml:0", "attention": "sdpa", "optimizations": "",
                    "power_limit_w": 350.0, "text_encode_time_s": 0.5, "decode_time_s": 0.5,
                    "denoise_time_s": seconds - 1.0,
                }
            )  # fmt: skip
    table = tmp_path / "runs.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    answers = {
        energy: law(capsys, "fit", table, "--convention", "exact", "--json", *options)
        for energy, options in (
            ("net", ("--energy", "net")),
            ("denoise", ("--energy", "denoise")),
            ("gross", ()),
        )
    }
    facts = {energy: json.loads(out) for energy, (_, out, _) in answers.items()}
    assert {energy: one["energy"] for energy, one in facts.items()} == {e: e for e in facts}
    alpha = {energy: one["coefficients"]["alpha"] for energy, one in facts.items()}
    assert alpha["net"] == pytest.approx(1.0, abs=1e-6)
    assert alpha["denoise"] == pytest.approx(1.0, abs=1e-6)
    assert alpha["gross"] < 0.98
    logs = [facts[energy]["coefficients"]["log_a"] for energy in ("denoise", "net")]
    assert logs[0] - logs[1] == pytest.approx(math.log(1.5), abs=1e-6)
    assert "--energy net" in answers["gross"][2] and answers["net"][2] == ""
    pd.DataFrame(rows).drop(columns="energy_net_j").to_csv(table, index=False)
    code, _, err = law(capsys, "fit", table, "--energy", "net")
    assert code == 2 and "it lacks energy_net_j" in err
    code, _, err = law(capsys, "fit", STUDY_CSV, "--energy", "gross")
    assert code == 2 and "net of idle power" in err


def test_calibrate_says_which_energy_it_is_of(capsys, tmp_path):
    code, out, _ = law(capsys, "calibrate", STUDY_CSV, "--where", "model=flux", "dtype=fp16")
    assert code == 0
    assert "net energies, law of J" in out and "scatter between conditions 5.0%" in out


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
        (("predict", "--architecture", "wan", "--steps", 4), "no formula for 'wan'"),
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
    assert "pip install matplotlib" in err
    assert "## Plots" not in (tmp_path / "energy-law.md").read_text("utf-8")


def test_reproduce_into_a_file_fails_with_a_reason(capsys, tmp_path):
    (tmp_path / "taken").write_text("")
    code, _, err = law(capsys, "reproduce", "--out", tmp_path / "taken")
    assert code == 1
    assert "cannot write" in err


SDXL = ("--architecture", "sdxl", "--steps", 30, "--cfg", 7)


def test_predict_tells_carbon_and_money(capsys):
    tariff = ("--grid-g-per-kwh", 100, "--price-per-kwh", 0.9, "--currency", "BRL")
    facts = json.loads(law(capsys, "predict", *SDXL, *tariff, "--json")[1])
    for name, joules in facts["energy_j_per_img"].items():
        costs = facts["costs_per_img"][name]
        assert costs["g CO2e"] == pytest.approx(100 * joules / 3.6e6)
        assert costs["BRL"] == pytest.approx(0.9 * joules / 3.6e6)
    out = law(capsys, "predict", *SDXL, *tariff)[1]
    assert "g CO2e per image" in out and "BRL per image" in out
    assert "CO2e" not in law(capsys, "predict", *SDXL)[1]


def test_an_hour_costs_where_the_time_of_an_image_is_known(capsys):
    """The shipped A100 has no times: the price of energy stays, and the reason is said."""
    _, out, _ = law(capsys, "predict", *SDXL, "--price-per-hour", 2, "--price-per-kwh", 0.3)
    assert "EUR per image" in out
    assert "No price of time: how long an image takes is not known." in out
    assert "in all" not in out
    doubled = [
        json.loads(law(capsys, "predict", *SDXL, *pue, "--grid-g-per-kwh", 100, "--json")[1])
        for pue in ((), ("--pue", 2))
    ]
    one, two = (facts["costs_per_img"]["value"]["g CO2e"] for facts in doubled)
    assert two == pytest.approx(2 * one)


def test_plan_says_where_and_when(capsys, tmp_path):
    grid = tmp_path / "grid.csv"
    grid.write_text("site,hour,g_per_kwh\nhere,0,400\nhere,1,100\nthere,0,50\n", "utf-8")
    code, out, _ = law(capsys, "plan", *SDXL, "--grid", grid, "--images", 500)
    assert code == 0
    joules = json.loads(law(capsys, "predict", *SDXL, "--json")[1])["energy_j_per_img"]["value"]
    rows = [line for line in out.splitlines() if line.startswith(("| here", "| there"))]
    assert rows[0].startswith("| there | 0 |")
    grams = float(rows[0].split("|")[3].replace(",", ""))
    assert grams == pytest.approx(500 * joules / 3.6e6 * 50, rel=1e-3)
    assert rows[1].startswith("| here | 1 |")
    assert "Of 500 images" in out
    assert "Where and when" not in law(capsys, "plan", *SDXL)[1]
    code, _, err = law(capsys, "plan", *SDXL, "--grid", tmp_path / "missing.csv")
    assert (code, "there is no file" in err) == (2, True)


def test_disposal_and_the_building_count(capsys):
    base = ("--embodied-kg", 90, "--old-j", 72000, "--new-j", 36000)
    base += ("--images-per-day", 1000, "--grid-g-per-kwh", 300)
    assert "after 30 days" in law(capsys, "breakeven", *base)[1]
    assert "after 40 days" in law(capsys, "breakeven", *base, "--disposal-kg", 30)[1]
    out = law(capsys, "breakeven", *base, "--disposal-kg", 30, 0, 60, "--pue", 2)[1]
    assert "after 20 days" in out
    assert "at best 15 days" in out
    assert "at worst 25 days" in out


def test_plan_writes_a_table_a_csv_and_a_plot(capsys, tmp_path):
    code, out, err = law(capsys, "plan", *SDXL, "--out", tmp_path)
    assert code == 0
    assert (tmp_path / "plan.md").read_text("utf-8") == out
    table = pd.read_csv(tmp_path / "plan.csv")
    assert set(table["Setting"]) == {"resolution", "steps", "precision", "guidance", "batch"}
    base = table[(table["Setting"] == "steps") & (table["Choice"] == "30")]
    predicted = json.loads(law(capsys, "predict", *SDXL, "--json")[1])["energy_j_per_img"]
    assert base["J/img"].item() == pytest.approx(predicted["value"], rel=1e-3)
    assert base["Low"].item() == pytest.approx(predicted["low"], rel=1e-3)
    assert "<svg" in (tmp_path / "plan.svg").read_text("utf-8")
    assert "280 published rows" in err


def test_plan_shows_the_front_and_the_caps_where_asked(capsys, tmp_path):
    qualities = tmp_path / "quality.csv"
    qualities.write_text("width_px,height_px,steps,quality\n512,512,20,1\n512,512,30,1\n")
    _, out, _ = law(capsys, "plan", *SDXL, "--quality", qualities, "--idle-power", 20)
    assert "| 512x512 | 20 |" in out and "| 1 | yes |" in out
    assert "no: another is cheaper and as good" in out
    assert (
        "RTX 3090, 180 W is cheaper than RTX 3090, no cap where idling takes more than 25." in out
    )
    assert "published RTX 3090's figures, not this card's" in out
    _, out, _ = law(capsys, "plan", *SDXL, "--idle-power", 20, "--workload", "z-image-turbo")
    assert "180 W is cheaper than RTX 3090, no cap at any idle power" in out
    assert "Power caps" not in law(capsys, "plan", *SDXL)[1]


def test_plan_takes_ones_own_caps(capsys, tmp_path):
    row = {
        "condition": "c", "gpu_name": "Card", "energy_meter": "nvml:0", "energy_method": "counter",
        "is_warmup": False, "error": None, "visit": 1,
    }  # fmt: skip
    rows = [
        {**row, "power_limit_w": limit, "j_per_img": joules, "img_per_s": speed}
        for limit, joules, speed in ((300.0, 2000.0, 0.2), (200.0, 2100.0, 0.1))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "caps.csv", index=False)
    caps = ("--idle-power", 10, "--power-caps", tmp_path / "caps.csv")
    _, out, _ = law(capsys, "plan", *SDXL, *caps)
    assert "200 W is cheaper than 300 W where idling takes more than 20 W" in out
    assert "published RTX 3090" not in out


NEW_CARD = ("--images-per-day", 1000, "--grid-g-per-kwh", 300)


def test_breakeven_by_hand(capsys):
    """0.01 kWh an image, 10 kWh and 3 kg a day."""
    cards = ("--old-j", 72000, "--new-j", 36000, "--embodied-kg", 90)
    code, out, _ = law(capsys, "breakeven", *NEW_CARD, *cards)
    assert code == 0
    assert "3000 g CO2e saved a day" in out
    assert "Replacing pays after 30 days" in out
    assert "Assumed: 1000 images a day" in out


def test_breakeven_bounds_and_never(capsys):
    cards = ("--old-j", 72000, 60000, 84000, "--new-j", 36000, 30000, 60000)
    out = law(capsys, "breakeven", *NEW_CARD, *cards, "--embodied-kg", 90, 60, 120)[1]
    assert "at best 13 days (0.0 years), at worst never" in out
    worse = ("--old-j", 100, "--new-j", 200, "--embodied-kg", 90)
    assert "never pays (at best never" in law(capsys, "breakeven", *NEW_CARD, *worse)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", *SDXL, "--gpu", "H100"), "no published data of H100"),
        (("plan", *SDXL, "--dtype", "int8"), "no data of the dtype int8"),
        (("plan", *SDXL, "--idle-power", -1), "--idle-power must be 0 W or more"),
        (("plan", *SDXL, "--idle-power", 1, "--workload", "flux"), "no workload 'flux'"),
        (("plan", *SDXL, "--idle-power", 1, "--power-caps", STUDY_CSV), "is no runs.csv"),
        (("predict", *SDXL, "--price-per-kwh", -1), "price per kWh must be 0 or more"),
        (
            ("breakeven", *NEW_CARD, "--old-j", 1, 2, "--new-j", 1, "--embodied-kg", 1),
            "--old-j takes a value",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused(capsys, arguments, message):
    code, out, err = law(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_predict_tells_every_setting_and_which_it_assumed(capsys):
    """An SDXL of 30 steps is one with guidance: 1430 J, not the 824 of none."""
    shape = ("--architecture", "sdxl", "--steps", 30)
    facts = json.loads(law(capsys, "predict", *shape, "--json")[1])
    assert facts["energy_j_per_img"]["value"] == pytest.approx(1430, rel=0.01)
    assert facts["settings"] == {
        "architecture": "sdxl", "width": 1024, "height": 1024, "steps": 30, "cfg": 7.0,
        "sampler": "euler", "batch_size": 1, "dtype": "fp16", "text_tokens": 12,
    }  # fmt: skip
    assert facts["assumed"] == [
        "width", "height", "cfg", "sampler", "batch_size", "dtype", "text_tokens", "gpu",
    ]  # fmt: skip
    none = json.loads(law(capsys, "predict", *shape, "--cfg", 1, "--width", 1024, "--json")[1])
    assert none["energy_j_per_img"]["value"] == pytest.approx(824, rel=0.01)
    assert "cfg" not in none["assumed"] and "width" not in none["assumed"]
    for command in ("predict", "plan"):
        out = law(capsys, command, *shape, "--dtype", "bf16", "--gpu", "A100")[1]
        assert "30 steps, CFG 7 (assumed), euler (assumed), batch of 1 (assumed), bf16, " in out
        assert "1024 px wide (assumed), 1024 px high (assumed)" in out
    assert set(FORMULAS) == set(DEFAULT_CFG)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--batch-size", ["0", "-1", "1.5", "nan", "1000000001", "9" * 20]),
        ("--steps", ["0", "-4", "two"]),
        ("--width", ["0", "-8"]),
        ("--height", ["0", "-8"]),
        ("--cfg", ["nan", "inf", "-1", "high"]),
        ("--text-tokens", ["-1", "nan"]),
        ("--confidence", ["0", "1", "nan"]),
    ],
)
def test_a_setting_that_cannot_be_is_refused(capsys, option, values):
    for value in values:
        with pytest.raises(SystemExit) as stopped:
            law(capsys, "predict", "--architecture", "sdxl", "--steps", 30, f"{option}={value}")
        assert stopped.value.code == 2
        assert f"argument {option}: {value!r} is " in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", [("--batch-size", 1), ("--cfg", 0), ("--text-tokens", 0), ("--steps", 1)]
)
def test_the_least_settings_are_taken(capsys, option):
    assert law(capsys, "predict", "--architecture", "sdxl", "--steps", 30, *option)[0] == 0


@pytest.mark.parametrize("watts", ["nan", "inf", "-1"])
def test_idle_power_is_finite(capsys, watts):
    code, _, err = law(capsys, "plan", *SDXL, f"--idle-power={watts}")
    assert code == 2 and "--idle-power must be 0 W or more" in err


def test_validate_prints_scores_and_writes_them(capsys, tmp_path):
    split = (
        "--train",
        "model=qwen",
        "model=sd3.5",
        "--test",
        "model=flux",
        "--convention",
        "paper",
    )
    code, out, _ = law(capsys, "validate", STUDY_CSV, *split, "--out", tmp_path)
    assert code == 0
    # As docs/energy-law.md has it for Figure 4.
    assert "| all | 80 | 0.989 | 152,165 | 13.0% | 0.999 | 0.999 |" in out
    assert "| model flux | 80 |" in out and "| card A100 | 80 |" in out
    assert out in (tmp_path / "validation.md").read_text("utf-8")
    rows = pd.read_csv(tmp_path / "validation.csv")
    error = (rows["value"] / rows["actual_j"] - 1).abs().mean()
    facts = json.loads(law(capsys, "validate", STUDY_CSV, *split, "--json")[1])
    assert set(facts["all"]) == {"n", "r2", "mae_j", "mape", "pearson", "spearman", "coverage"}
    assert facts["all"]["mape"] == pytest.approx(error)
    assert facts["all"]["coverage"] == pytest.approx(rows["covered"].mean())
    assert "<svg" in (tmp_path / "validation.svg").read_text("utf-8")
    code, _, err = law(capsys, "validate", STUDY_CSV, "--train", "model=flux", "--test", "gpu=A100")
    assert code == 2 and "80 rows are in both --train and --test" in err
