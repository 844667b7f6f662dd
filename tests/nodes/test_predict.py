"""A forecast has an interval and its grounds, or it is blank with the reason."""

from dataclasses import replace

import pytest
import torch

from wattbench import law
from wattbench.law.flop import flop_count
from wattbench.measure.meters import DeviceId

RTX_3090 = DeviceId("cuda", 0, "NVIDIA GeForce RTX 3090")
SETTINGS = {
    "width": 1024,
    "height": 1024,
    "batch_size": 1,
    "steps": 30,
    "cfg": 7.0,
    "sampler_name": "euler",
    "scheduler": "normal",
}


@pytest.fixture(scope="module")
def full_models(comfyui):
    """A function that gives a full-size MODEL on the meta device: all of it but its weights."""
    import comfy.model_patcher

    from wattbench.hosts.comfyui.identity import attach_identity
    from wattbench.hosts.comfyui.synthetic import _recipe, assembly

    def model(architecture="sdxl", dtype="fp16"):
        recipe = _recipe(architecture, "full", dtype, 0)
        module = assembly._diffusion_model(recipe, "meta")
        cpu = torch.device("cpu")
        patcher = comfy.model_patcher.ModelPatcher(module, cpu, cpu)
        attach_identity(patcher, recipe.identity)
        return patcher

    return model


@pytest.fixture
def predict(full_models, workspace_folder, monkeypatch):
    """A function that runs the node as on an RTX 3090; keywords change its inputs."""
    from wattbench.nodes import predict

    def run(model=None, device=RTX_3090, **changes):
        monkeypatch.setattr(predict, "identify", lambda _: device)
        inputs = {"model": model or full_models(), **SETTINGS, **changes}
        return predict.WattBenchPredictEnergy.execute(**inputs)

    return run


def is_blank(value):
    return type(value).__name__ == "ExecutionBlocker"


def test_a_published_run_lies_within_its_forecast(predict):
    """1344.95 images per kWh were published of this run on this card: 2677 J."""
    forecast, flops, joules, seconds, text = predict().result
    assert flops == flop_count("sdxl", 1024, 1024, 30, cfg=7.0).total
    energy = forecast.energy_per_img
    assert energy.low < 3.6e6 / 1344.95 < energy.high
    assert energy.value == joules == pytest.approx(2677, rel=0.1)
    assert energy.unit == "J"
    assert forecast.energy == energy
    assert is_blank(seconds)
    assert f"{energy.confidence:.0%} interval" in text
    assert "operator law of RTX 3090" in text
    assert "No forecast of time" in text


def test_the_text_is_also_in_the_history(predict):
    output = predict()
    assert output.ui.as_dict()["text"] == (output.result[4],)


@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [("sdxl", "fp16"), ("z_image_turbo", "bf16"), ("sd15", "fp16"), ("flux", "bf16"),
     ("sd35", "fp16"), ("qwen_image", "bf16")],
)  # fmt: skip
def test_every_architecture_is_recognised_by_its_configuration(
    predict, full_models, architecture, dtype
):
    model = full_models(architecture, dtype)
    model.remove_attachments("wattbench")
    _, flops, joules, _, _ = predict(model, cfg=1.0).result
    assert flops == flop_count(architecture, 1024, 1024, 30).total
    assert joules > 0


def test_files_have_the_packs_own_names(full_models):
    from wattbench.hosts.comfyui.describe import describe_model

    names = {}
    for architecture in ("sdxl", "z_image_turbo", "sd15", "flux", "sd35", "qwen_image"):
        model = full_models(architecture)
        model.remove_attachments("wattbench")
        names[architecture] = describe_model(model).architecture
    assert names == {
        **{name: name for name in ("sdxl", "sd15", "flux", "sd35", "qwen_image")},
        "z_image_turbo": "z_image",
    }


@pytest.mark.parametrize("architecture", ["sdxl", "flux", "sd35", "qwen_image", "sd15"])
def test_a_model_of_another_size_has_no_formula(predict, tiny_models, architecture):
    forecast, flops, joules, seconds, text = predict(tiny_models(architecture).model).result
    assert is_blank(flops) and is_blank(joules) and is_blank(seconds)
    assert f"not those of {architecture} as it was published" in text
    assert forecast.energy is None


def test_an_unknown_gpu_gets_flops_and_a_way_out(predict):
    for name in ("NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 3090 Ti", "an AMD CPU"):
        forecast, flops, joules, _, text = predict(device=DeviceId("cuda", 0, name)).result
        assert flops > 0
        assert is_blank(joules)
        assert forecast.energy is None
        assert f"no data of {name}" in text
        assert "wattbench law calibrate" in text
        assert " J " not in text


def test_a_weight_format_without_data_gets_no_energy(predict, full_models):
    *_, text = predict(full_models("sdxl", "fp32")).result
    assert "no data of the dtype fp32" in text


def test_fp8_on_a_card_that_converts_it_is_forecast_by_its_own_law(predict, full_models):
    """Of the RTX 3090's FP8 there is Z-Image alone, so SDXL's interval is wide."""
    fp8, fp16 = predict(full_models("sdxl", "float8_e4m3fn")).result[0], predict().result[0]
    assert any("sdxl was not measured" in note for note in fp8.notes)
    wide, narrow = fp8.energy_per_img, fp16.energy_per_img
    assert wide.high / wide.low > narrow.high / narrow.low


def test_what_lies_beyond_the_data_says_so_and_is_wider(predict):
    inside, outside = predict().result[0], predict(width=2048, height=2048).result[0]
    assert not any("beyond the data" in note for note in inside.notes)
    assert any("pixels 4194304 outside" in note for note in outside.notes)
    wide, narrow = outside.energy_per_img, inside.energy_per_img
    assert wide.high / wide.low > narrow.high / narrow.low


def test_a_latent_takes_the_place_of_the_widgets(predict, comfyui, full_models):
    (latent,) = comfyui.EmptyLatentImage().generate(768, 512, 3)
    forecast = predict(latent=latent).result[0]
    condition = forecast.condition
    assert (condition.width_px, condition.height_px, condition.batch_size) == (768, 512, 3)
    del latent["downscale_ratio_spacial"]
    assert predict(latent=latent).result[0].condition == condition
    assert forecast.energy.value == pytest.approx(3 * forecast.energy_per_img.value)


def test_guidance_doubles_denoising(predict):
    counts = [predict(cfg=cfg).result[1] for cfg in (1.0, 7.0)]
    apart = [flop_count("sdxl", 1024, 1024, 30, cfg=cfg) for cfg in (1.0, 7.0)]
    assert counts == [count.total for count in apart]
    assert apart[1].denoise == 2 * apart[0].denoise


@pytest.mark.parametrize("setting", ["steps", "width", "batch_size"])
def test_more_costs_more(predict, setting):
    """More joules a run: an image of a batch may well cost less."""
    energies = [
        predict(**{setting: SETTINGS[setting] * factor}).result[0].energy.value
        for factor in (1, 2, 3)
    ]
    assert energies == sorted(energies)
    assert len(set(energies)) == 3


def test_a_schedule_that_merges_steps_is_counted_as_it_runs(predict, full_models):
    from wattbench.hosts.comfyui.describe import step_count

    made = step_count(full_models(), 1000, "euler", "beta")
    assert made < 1000
    flops = predict(steps=1000, scheduler="beta").result[1]
    assert flops == flop_count("sdxl", 1024, 1024, made, cfg=7.0).total


@pytest.mark.parametrize("sampler", ["euler", "dpm_2", "uni_pc", "heun"])
def test_a_usual_schedule_makes_the_steps_asked_for(full_models, sampler):
    from wattbench.hosts.comfyui.describe import step_count

    assert step_count(full_models(), 20, sampler, "normal") == 20


def test_a_sampler_that_chooses_its_steps_is_refused(predict):
    _, flops, joules, _, text = predict(sampler_name="dpm_adaptive").result
    assert is_blank(flops) and is_blank(joules)
    assert "chooses its own steps" in text


def test_carbon_and_money_are_shown_where_given(predict):
    plain = predict().result[4]
    assert "CO2e" not in plain and "EUR" not in plain
    forecast, *_, text = predict(
        grid_intensity_g_per_kwh=100.0, price_per_kwh=0.9, currency="BRL"
    ).result
    kwh = forecast.energy_per_img.value / 3.6e6
    grams = next(line for line in text.splitlines() if "CO2e" in line)
    money = next(line for line in text.splitlines() if "BRL" in line)
    assert float(grams.split()[0]) == pytest.approx(100 * kwh, rel=5e-3)
    assert float(money.split()[0]) == pytest.approx(0.9 * kwh, rel=5e-3)
    assert f"{1000 * 100 * kwh:.1f} per 1000 images" in grams


@pytest.fixture
def calibrated(workspace_folder):
    """A card's file in the output folder: joules and seconds, for the device's own name."""
    folder = workspace_folder / "wattbench"
    folder.mkdir(parents=True)
    energy = law.card_named("RTX 3090").laws["J"]
    named = replace(energy, domain=replace(energy.domain, gpu=RTX_3090.name))
    slower = replace(named, log_parameters=named.log_parameters - 5.8, unit="s")
    law.save({"J": named, "s": slower}, folder / "card.json")
    return folder / "card.json"


def test_a_calibration_gives_seconds_too(predict, calibrated):
    by_name = predict(calibration="card.json").result
    by_path = predict(calibration=str(calibrated)).result
    assert by_name[1:] == by_path[1:]
    assert by_name[3] > 0
    assert f" s ({by_name[0].duration_per_img.low:.3g}" in by_name[4]
    assert "No forecast of time" not in by_name[4]


def test_a_calibration_of_another_device_is_refused(predict, calibrated):
    with pytest.raises(ValueError, match="is of NVIDIA GeForce RTX 3090, but this model runs on"):
        predict(calibration="card.json", device=DeviceId("cuda", 0, "NVIDIA L4"))


def test_a_file_that_is_no_calibration_is_refused(predict, calibrated):
    calibrated.write_text('{"J": {"n": 3}}', "utf-8")
    for name in ("card.json", "none.json"):
        with pytest.raises(ValueError, match="is no law"):
            predict(calibration=name)


def test_the_measured_run_keeps_its_forecast(comfyui, tiny_models, hundred_watts, workspace_folder):
    """The tiny model has no formula, so its forecast is put in place of the law's."""
    from wattbench.nodes.benchmark import WattBenchBenchmark
    from wattbench.nodes.predict import WattBenchPredictEnergy
    from wattbench.records import Prediction

    models = tiny_models()
    settings = {**SETTINGS, "width": 64, "height": 64, "steps": 2}
    forecast = WattBenchPredictEnergy.execute(model=models.model, **settings).result[0]
    expected = Prediction(50.0, 40.0, 60.0, 0.9, "J", "a test")
    forecast = replace(forecast, energy_per_img=expected)
    rest = {
        "model": models.model, "clip": models.clip, "vae": models.vae, "positive": "a moth",
        "negative": "", "seed": 1, "warmup_runs": 0, "repeats": 1, "idle_seconds": 0.0,
        "meter": hundred_watts, "forecast": forecast,
    }  # fmt: skip
    (run,) = WattBenchBenchmark.execute(**settings, **rest).result[1]
    assert run.predicted_energy == expected
    with pytest.raises(ValueError, match="steps 2 instead of 3"):
        WattBenchBenchmark.execute(**{**settings, "steps": 3}, **rest)


def test_every_formula_has_a_family_and_every_family_a_formula(comfyui):
    from comfy import supported_models

    from wattbench.law.flop import FORMULAS
    from wattbench.law.flop.families import FAMILIES

    assert {f.name for families in FAMILIES.values() for f in families} == set(FORMULAS)
    classes = {model.__name__ for model in supported_models.models}
    assert set(FAMILIES) <= classes


def test_another_model_keeps_comfyuis_name(full_models):
    from comfy import supported_models

    from wattbench.hosts.comfyui.describe import describe_model

    model = full_models()
    model.remove_attachments("wattbench")
    model.model.model_config = supported_models.Chroma({"image_model": "chroma"})
    assert describe_model(model).architecture == "chroma"
