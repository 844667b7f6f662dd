"""The loading nodes: what they make, keep as a file and load again."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ....fidelity import FLOOR_DB, SAME_DB, psnr_db

STOCK = ("fp8_w", "fp8", "int8", "int8_w8a8", "int4_gemm", "mxfp8", "nvfp4")
"""Formats whose files core's own loader reads."""


def same_tensors(model, other):
    mine, theirs = (m.model.diffusion_model.state_dict() for m in (model, other))
    return mine.keys() == theirs.keys() and all(
        torch.equal(mine[key].view(torch.uint8), theirs[key].view(torch.uint8))
        if mine[key].ndim
        else mine[key] == theirs[key]
        for key in mine
    )


@pytest.mark.parametrize(
    "name",
    [
        "fp8_w",
        "fp8",
        "fp8_static",
        "int8",
        "int8_w8a8",
        "nf4",
        "int4",
        "int4_gemm",
        "mxfp8",
        "nvfp4",
    ],
)
def test_a_saved_file_reloads_to_the_same_latent(
    name, comfyui, flux, load, sample, original, models_folder
):
    from wattbench.hosts.comfyui.describe import weight_format

    made = load(flux, name, save_as=f"flux_{name}")
    latent = sample(made)
    assert psnr_db(original, latent) > FLOOR_DB
    saved = f"diffusion_models/flux_{name}.safetensors"
    for again in (load(saved), load(saved, name)):
        assert weight_format(again) == name
        assert same_tensors(made, again)
        assert psnr_db(latent, sample(again)) > SAME_DB
    if name in STOCK:
        (stock,) = comfyui.UNETLoader().load_unet(f"flux_{name}.safetensors", "default")
        assert psnr_db(original, sample(stock)) > FLOOR_DB


def test_the_file_is_smaller_and_says_how_it_was_made(flux, load, models_folder):
    load(flux, "nf4", save_as="small")
    path = models_folder / "diffusion_models" / "small.safetensors"
    assert path.stat().st_size < 0.62 * path.with_name("flux.safetensors").stat().st_size
    header = path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")]
    assert json.loads(json.loads(header)["__metadata__"]["wattbench"])["format"] == "nf4"
    assert [p.name for p in path.parent.iterdir() if ".part" in p.name] == []


def test_a_name_is_refused_before_anything_is_loaded(flux, load, models_folder):
    """The source is damaged, so that reading it would fail otherwise."""
    path = models_folder / "diffusion_models" / "flux.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileExistsError, match=r"flux\.safetensors exists, and no file is over"):
        load(flux, "fp8_w", save_as="flux")
    with pytest.raises(ValueError, match="without a folder"):
        load(flux, "fp8_w", save_as="../flux2")


def test_a_file_that_is_not_whole_leaves_nothing(flux, load, models_folder):
    """The limit on the size of files stands for a full disk."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"large\.safetensors cannot be written: .*File too large"
        ):
            load(flux, "fp8_w", save_as="large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    folder = models_folder / "diffusion_models"
    assert [path.name for path in folder.iterdir()] == ["flux.safetensors"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_holds_the_result_and_not_its_source(load, models_folder, monkeypatch):
    script = Path(__file__).parents[4] / "benchmarks" / "load_quantized.py"
    monkeypatch.syspath_prepend(script.parent)
    bench = runpy.run_path(str(script), run_name="bench")
    path = models_folder / "diffusion_models" / "wide.safetensors"
    bench["make_file"](path, width=1024, double_blocks=1)
    with bench["Watch"]() as watch:
        model = load("diffusion_models/wide.safetensors", "fp8", compute_dtype="bf16")
    size_bytes = path.stat().st_size
    assert model.model.diffusion_model.double_blocks[0].img_mlp[0].weight.shape == (4096, 1024)
    assert watch.anonymous_bytes < 0.9 * size_bytes


@pytest.mark.parametrize("kind", ["model", "clip"])
def test_loading_shows_progress_and_stops_between_layers(kind, flux, load, models_folder, comfyui):
    import comfy.model_management as management
    import comfy.utils

    from wattbench.nodes.quantized import WattBenchLoadQuantizedCLIP

    file = "text_encoders/many.safetensors"
    weights = {
        f"text_model.encoder.layers.{i}.mlp.fc1.weight": torch.ones(64, 64) for i in range(9)
    }
    save_file(weights, models_folder / file)
    seen = []

    def show(done, total, preview, node_id=None):
        seen.append((done, total))
        management.interrupt_current_processing()

    hook = comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(show)
    try:
        with pytest.raises(management.InterruptProcessingException):
            if kind == "model":
                load(flux, "int8")
            else:
                WattBenchLoadQuantizedCLIP.execute(file, "flux", "int8", "auto", "")
    finally:
        comfy.utils.set_progress_bar_global_hook(hook)
        management.interrupt_current_processing(False)
    ((done, total),) = seen
    assert done == 1
    assert total >= 9


def test_the_arithmetic_of_a_file_can_be_chosen(flux, load, sample):
    from wattbench.hosts.comfyui.quantized import linear_ledger

    load(flux, "fp8", save_as="eight")
    model = load("diffusion_models/eight.safetensors", "fp8_w")
    sample(model)
    requested = {calls.requested for calls in linear_ledger(model).read()}
    assert requested == {"fp8_w", "fp32"}


def test_another_format_than_the_files_is_refused(flux, load):
    load(flux, "fp8", save_as="eight")
    with pytest.raises(ValueError, match=r"already quantized \(fp8, fp8_w\), and nf4 stores"):
        load("diffusion_models/eight.safetensors", "nf4")


def test_a_request_that_quantizes_nothing_is_refused(flux, load):
    with pytest.raises(ValueError, match="no layer can become nf4"):
        load(flux, "nf4", layers="*")


def test_plain_formats_change_the_dtype_alone(flux, load, sample, original):
    from wattbench.hosts.comfyui.describe import weight_format

    model = load(flux, "fp16")
    assert weight_format(model) == "fp16"
    assert psnr_db(original, sample(model)) > FLOOR_DB
    as_core_does = load(flux)
    assert torch.equal(sample(as_core_does), original)


def test_a_checkpoints_diffusion_model_loads(load, sample, original, flux_weights, models_folder):
    tensors = {f"model.diffusion_model.{name}": t for name, t in flux_weights.items()}
    tensors["first_stage_model.decoder.conv_in.bias"] = torch.zeros(4)
    save_file(tensors, models_folder / "checkpoints" / "all.safetensors")
    latent = sample(load("checkpoints/all.safetensors", "int8"))
    assert psnr_db(original, latent) > FLOOR_DB


def test_quantize_model_node(tiny_models, sample, original):
    from wattbench.hosts.comfyui.describe import describe_model, weight_format
    from wattbench.nodes.quantized import WattBenchQuantizeModel

    source = tiny_models("flux").model
    (model,) = WattBenchQuantizeModel.execute(
        model=source, weight_format="nf4", compute_dtype="auto", layers=""
    ).result
    assert weight_format(model) == "nf4"
    assert describe_model(model) == describe_model(source)
    assert psnr_db(original, sample(model)) > FLOOR_DB
