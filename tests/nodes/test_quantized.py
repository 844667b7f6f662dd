"""Files through the loading nodes: ours, other people's, and broken ones."""

import json
import math
import runpy
import sys
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file

from wattbench.quant.base import CONFIG, decode_config

FLOOR_DB = 25
"""PSNR of a latent against the original file's, for any 4-bit format."""

SAME_DB = 60
"""PSNR of one file loaded twice: memory that is aligned differently is summed differently."""

STOCK = ("fp8_w", "fp8", "int8", "int8_w8a8", "int4_gemm")
"""Formats whose files core's own loader reads."""


@pytest.fixture
def models_folder(comfyui, tmp_path, monkeypatch):
    """ComfyUI's model folders, in a temporary place, with the original of a tiny Flux."""
    import folder_paths

    for kind in ("diffusion_models", "checkpoints", "text_encoders"):
        folder = tmp_path / kind
        folder.mkdir()
        _, suffixes = folder_paths.folder_names_and_paths[kind]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(folder)], suffixes))
    return tmp_path


@pytest.fixture(scope="module")
def flux_weights(tiny_models):
    """The weights of a tiny Flux, which ComfyUI's model detection knows, in bf16."""
    with torch.inference_mode():
        state = tiny_models("flux").model.model.diffusion_model.state_dict()
        return {name: tensor.to(torch.bfloat16).clone() for name, tensor in state.items()}


@pytest.fixture
def flux(models_folder, flux_weights):
    save_file(flux_weights, models_folder / "diffusion_models" / "flux.safetensors")
    return "diffusion_models/flux.safetensors"


@pytest.fixture
def load():
    """A function that executes the node."""
    from wattbench.nodes.quantized import WattBenchLoadQuantized

    def load(file, weight_format="as stored", layers="", save_as="", compute_dtype="auto"):
        output = WattBenchLoadQuantized.execute(
            file=file,
            weight_format=weight_format,
            compute_dtype=compute_dtype,
            layers=layers,
            save_as=save_as,
        )
        return output.result[0]

    return load


@pytest.fixture(scope="module")
def text(comfyui, tiny_models):
    with torch.inference_mode():
        return comfyui.CLIPTextEncode().encode(tiny_models("flux").clip, "a moth")[0]


@pytest.fixture
def sample(comfyui, text):
    def sample(model):
        (latent,) = comfyui.EmptyLatentImage().generate(64, 64, 1)
        (out,) = comfyui.KSampler().sample(model, 0, 1, 1.0, "euler", "simple", text, text, latent)
        return out["samples"]

    return sample


@pytest.fixture
def original(comfyui, flux, sample):
    """The latent of the original file, loaded by core."""
    (model,) = comfyui.UNETLoader().load_unet("flux.safetensors", "default")
    return sample(model)


def psnr_db(reference, value):
    span = float(reference.max() - reference.min())
    error = float((value - reference).square().mean())
    return 10 * math.log10(span**2 / error) if error else math.inf


def same_tensors(model, other):
    mine, theirs = (m.model.diffusion_model.state_dict() for m in (model, other))
    return mine.keys() == theirs.keys() and all(
        torch.equal(mine[key].view(torch.uint8), theirs[key].view(torch.uint8))
        if mine[key].ndim
        else mine[key] == theirs[key]
        for key in mine
    )


@pytest.mark.parametrize(
    "name", ["fp8_w", "fp8", "fp8_static", "int8", "int8_w8a8", "nf4", "int4", "int4_gemm"]
)
def test_a_saved_file_reloads_to_the_same_latent(
    name, comfyui, flux, load, sample, original, models_folder
):
    from wattbench.nodes.host.describe import weight_format

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
    script = Path(__file__).parents[2] / "benchmarks" / "load_quantized.py"
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
    from wattbench.nodes.host.quantized import linear_ledger

    load(flux, "fp8", save_as="eight")
    model = load("diffusion_models/eight.safetensors", "fp8_w")
    sample(model)
    requested = {calls.requested for calls in linear_ledger(model).read()}
    assert requested == {"fp8_w", "fp32"}


def test_another_format_than_the_files_is_refused(flux, load):
    load(flux, "fp8", save_as="eight")
    with pytest.raises(ValueError, match=r"already quantized \(fp8, fp8_w\), and nf4 stores"):
        load("diffusion_models/eight.safetensors", "nf4")


def test_plain_formats_change_the_dtype_alone(flux, load, sample, original):
    from wattbench.nodes.host.describe import weight_format

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


def test_the_old_scaled_fp8_layout_loads(load, sample, original, flux_weights, models_folder):
    tensors = dict(flux_weights)
    tensors["scaled_fp8"] = torch.zeros(0, dtype=torch.float8_e4m3fn)
    for name in [n for n in tensors if ".img_mlp." in n and n.endswith(".weight")]:
        scale = tensors[name].float().abs().max() / 448
        tensors[name] = (tensors[name].float() / scale).to(torch.float8_e4m3fn)
        tensors[name.removesuffix("weight") + "scale_weight"] = scale
    save_file(tensors, models_folder / "diffusion_models" / "old.safetensors")
    model = load("diffusion_models/old.safetensors")
    assert psnr_db(original, sample(model)) > FLOOR_DB
    layer = model.model.diffusion_model.double_blocks[0].img_mlp[0].layer
    assert layer.format.name == "fp8"


def test_a_header_that_describes_the_layers_loads(
    load, flux, sample, flux_weights, original, models_folder
):
    latent = sample(load(flux, "int8_w8a8", save_as="eight"))
    tensors = load_file(models_folder / "diffusion_models" / "eight.safetensors")
    layers = {
        name.removesuffix(f".{CONFIG}"): decode_config(tensors.pop(name))
        for name in [n for n in tensors if n.endswith(f".{CONFIG}")]
    }
    path = models_folder / "diffusion_models" / "header.safetensors"
    save_file(tensors, path, {"_quantization_metadata": json.dumps({"layers": layers})})
    again = sample(load("diffusion_models/header.safetensors"))
    assert psnr_db(latent, again) > SAME_DB


@pytest.fixture
def gguf_file(flux_weights, models_folder):
    """A GGUF file as ComfyUI-GGUF writes one: large matrices in blocks, the rest in F32 or F16."""
    path = models_folder / "diffusion_models" / "flux-Q8_0.gguf"
    writer = gguf.GGUFWriter(path, "flux")
    for name, tensor in flux_weights.items():
        data = tensor.float().numpy()
        if tensor.ndim == 2 and tensor.shape[1] % 32 == 0 and "blocks" in name:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        elif tensor.ndim == 2:
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_loads_and_takes_a_lora(gguf_file, load, sample, original):
    from wattbench.nodes.host.quantized import linear_ledger, model_files

    assert "diffusion_models/flux-Q8_0.gguf" in model_files()
    model = load("diffusion_models/flux-Q8_0.gguf")
    latent = sample(model)
    assert psnr_db(original, latent) > 35
    calls = {c.requested: c.executed for c in linear_ledger(model).read()}
    assert calls["gguf:Q8_0"] == "dequantized (fp32)"
    key = "diffusion_model.double_blocks.0.img_mlp.0.weight"
    patched = model.clone()
    shape = model.model.diffusion_model.double_blocks[0].img_mlp[0].weight.shape
    patched.add_patches({key: ("diff", (torch.full(shape, 0.3),))}, 1.0)
    assert psnr_db(latent, sample(patched)) < 60
    assert torch.equal(sample(model), latent)


def test_report_and_model_name_gguf_alike_and_errors_are_told(gguf_file, flux, load, models_folder):
    from wattbench.quant.report import report_file

    file = "diffusion_models/flux-Q8_0.gguf"
    told, loaded = formats_told(load(file, compute_dtype="bf16"), file, models_folder)
    assert told == loaded
    assert {name for name, _ in told.values()} == {"gguf:Q8_0", "bf16"}
    report = report_file(gguf_file, models_folder / flux)
    layer = next(x for x in report.layers if x.format == "gguf:Q8_0")
    assert layer.bits_per_weight == 8.5
    assert 35 < layer.fidelity.sqnr_db < 60


def test_a_gguf_file_is_not_quantized_again(gguf_file, load):
    with pytest.raises(ValueError, match=r"already quantized \(gguf:Q8_0\)"):
        load("diffusion_models/flux-Q8_0.gguf", "fp8")


def test_a_truncated_gguf_file_is_named(gguf_file, load):
    gguf_file.write_bytes(gguf_file.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"flux-Q8_0\.gguf is no whole GGUF file"):
        load("diffusion_models/flux-Q8_0.gguf")


def test_a_truncated_file_is_named(flux, load, models_folder):
    path = models_folder / "diffusion_models" / "flux.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"flux\.safetensors is no whole safetensors file"):
        load(flux, "fp8")


def test_a_pickle_is_refused(load, models_folder):
    torch.save({"weight": torch.ones(2)}, models_folder / "diffusion_models" / "model.pt")
    with pytest.raises(ValueError, match="is a pickle, which may run code"):
        load("diffusion_models/model.pt", "fp8")


def test_a_pickle_in_disguise_is_refused(load, models_folder):
    torch.save({"a": torch.ones(2)}, models_folder / "diffusion_models" / "model.safetensors")
    with pytest.raises(ValueError, match="is a pickle, which may run code"):
        load("diffusion_models/model.safetensors", "fp8")


def test_a_file_without_a_model_is_refused(load, models_folder):
    save_file({"a.weight": torch.ones(2, 2)}, models_folder / "diffusion_models" / "a.safetensors")
    with pytest.raises(ValueError, match="no diffusion model that this ComfyUI knows"):
        load("diffusion_models/a.safetensors", "fp8")


@pytest.mark.parametrize(
    ("suffix", "stored", "message"),
    [
        ("weight", torch.int8, r"0\.img_mlp\.0 are I8, and nothing says"),
        ("SCB", torch.float32, "bitsandbytes stores weights as"),
        ("weight.quant_state.bitsandbytes__nf4", torch.uint8, "bitsandbytes stores weights as"),
        ("qweight", torch.int8, "Nunchaku, GPTQ or AWQ stores weights as"),
        ("_weight_qdata", torch.int8, "torchao stores weights as"),
    ],
)
def test_files_of_tools_that_comfyui_does_not_read_are_refused(
    suffix, stored, message, load, flux_weights, models_folder
):
    layer = "double_blocks.0.img_mlp.0"
    tensors = {**flux_weights, f"{layer}.{suffix}": torch.ones(1024, 256).to(stored)}
    save_file(tensors, models_folder / "diffusion_models" / "other.safetensors")
    for weight_format in ("as stored", "int8"):
        with pytest.raises(ValueError, match=f"ComfyUI does not read: .*{message}"):
            load("diffusion_models/other.safetensors", weight_format)


def under_diffusers_names(weights):
    import comfy.utils

    depths = {
        kind: len({name.split(".")[1] for name in weights if name.startswith(f"{kind}_blocks")})
        for kind in ("double", "single")
    }
    config = {"depth": depths["double"], "depth_single_blocks": depths["single"]}
    config["hidden_size"] = weights["img_in.bias"].numel()
    tensors = {}
    for name, place in comfy.utils.flux_to_diffusers(config).items():
        whole, part, swap = (place, None, None) if isinstance(place, str) else (*place, None)[:3]
        if whole in weights:
            tensor = weights[whole].narrow(*part) if part else weights[whole]
            tensors[name] = (swap(tensor) if swap else tensor).clone()
    return tensors


def test_diffusers_names_load_and_are_refused_once_quantized(
    load, sample, original, flux_weights, models_folder
):
    path = models_folder / "diffusion_models" / "diffusers.safetensors"
    save_file(under_diffusers_names(flux_weights), path)
    assert psnr_db(original, sample(load("diffusion_models/diffusers.safetensors", "int8"))) > 40
    convert(path, path.with_name("eight.safetensors"), "int8")
    with pytest.raises(ValueError, match=r"eight\.safetensors is quantized under diffusers' names"):
        load("diffusion_models/eight.safetensors")


def test_wrong_shapes_are_named(load, flux_weights, models_folder):
    name = "double_blocks.0.img_mlp.0.weight"
    tensors = {**flux_weights, name: flux_weights[name][:-64].clone()}
    save_file(tensors, models_folder / "diffusion_models" / "cut.safetensors")
    with pytest.raises(RuntimeError, match=r"for double_blocks\.0\.img_mlp\.0.*get it again"):
        load("diffusion_models/cut.safetensors", "fp8")


def test_a_missing_layer_is_named_when_it_is_computed(load, sample, flux_weights, models_folder):
    tensors = dict(flux_weights)
    del tensors["double_blocks.0.img_mlp.0.weight"]
    save_file(tensors, models_folder / "diffusion_models" / "less.safetensors")
    model = load("diffusion_models/less.safetensors", "int8")
    with pytest.raises(ValueError, match=r"no weight of layer double_blocks\.0\.img_mlp\.0"):
        sample(model)


def test_a_request_that_quantizes_nothing_is_refused(flux, load):
    with pytest.raises(ValueError, match="no layer can become nf4"):
        load(flux, "nf4", layers="*")


def test_a_gguf_file_of_another_name_is_told_by_its_content(gguf_file, load, sample, original):
    other = gguf_file.rename(gguf_file.with_name("renamed.safetensors"))
    model = load(f"diffusion_models/{other.name}")
    assert psnr_db(original, sample(model)) > 35


def test_layers_in_comfyuis_own_formats_are_counted_as_they_run(
    load, sample, flux_weights, original, models_folder
):
    from wattbench.nodes.host.quantized import linear_ledger
    from wattbench.quant.base import encode_config

    name, dtype = "double_blocks.0.img_mlp.0", torch.float8_e5m2
    weight = flux_weights[f"{name}.weight"].to(dtype)
    config = encode_config({"format": "float8_e5m2"})
    tensors = {f"{name}.weight": weight, f"{name}.weight_scale": torch.tensor(1.0)}
    tensors = {**flux_weights, **tensors, f"{name}.{CONFIG}": config}
    save_file(tensors, models_folder / "diffusion_models" / "theirs.safetensors")
    model = load("diffusion_models/theirs.safetensors")
    assert psnr_db(original, sample(model)) > FLOOR_DB
    calls = {c.requested: c.executed for c in linear_ledger(model).read()}
    assert calls == {"float8_e5m2": "dequantized (fp32)", "fp32": "native (fp32)"}


def test_a_missing_scale_is_named(flux, load, models_folder):
    load(flux, "int8_w8a8", save_as="eight")
    path = models_folder / "diffusion_models" / "eight.safetensors"
    tensors = load_file(path)
    del tensors["double_blocks.0.img_mlp.0.weight_scale"]
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"double_blocks\.0\.img_mlp\.0 has no weight_scale"):
        load("diffusion_models/eight.safetensors")


@pytest.mark.parametrize("choice", ["flux.safetensors", "diffusion_models/../a", "loras/x"])
def test_only_files_of_the_list_load(choice, load, models_folder):
    (models_folder / "a").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="names no file of the list"):
        load(choice)


def test_quantize_model_node(tiny_models, sample, original):
    from wattbench.nodes.host.describe import describe_model, weight_format
    from wattbench.nodes.quantized import WattBenchQuantizeModel

    source = tiny_models("flux").model
    (model,) = WattBenchQuantizeModel.execute(
        model=source, weight_format="nf4", compute_dtype="auto", layers=""
    ).result
    assert weight_format(model) == "nf4"
    assert describe_model(model) == describe_model(source)
    assert psnr_db(original, sample(model)) > FLOOR_DB


def formats_told(model, file, models_folder):
    """By layer, the formats that a report says of a file and of the MODEL loaded from it."""
    from wattbench.nodes.host.quantized.report import report_model
    from wattbench.quant.report import report_file

    reports = report_file(models_folder / file), report_model(model, None)
    told = [{x.name: (x.format, x.is_quantized) for x in report.layers} for report in reports]
    return told[0], {name: told[1][name] for name in told[0]}


def old_layout(weights, mark):
    """ComfyUI's first layout of FP8 files; the size of the mark says how to compute."""
    tensors = {**weights, "scaled_fp8": torch.zeros(mark, dtype=torch.float8_e4m3fn)}
    names = [name for name in weights if ".img_mlp." in name and name.endswith(".weight")]
    for number, name in enumerate(names):
        stem = name.removesuffix("weight")
        tensors[name] = weights[name].to(torch.float8_e4m3fn)
        tensors[f"{stem}scale_weight"] = torch.tensor(2.0)
        tensors[f"{stem}scale_input"] = torch.tensor(1.0 + number)
    return tensors


def convert(source, target, name):
    from wattbench.quant.convert import Request, convert_file
    from wattbench.quant.formats import find

    scales = {"double_blocks.0.img_mlp.0": 0.01} if name == "fp8_static" else {}
    convert_file(source, target, Request(find(name), input_scales=scales))


@pytest.mark.parametrize(
    "name", ["fp8_w", "fp8", "fp8_static", "int8", "int8_w8a8", "nf4", "int4", "int4_gemm"]
)
def test_report_and_model_name_our_formats_alike(name, flux, load, models_folder):
    file = "diffusion_models/made.safetensors"
    convert(models_folder / flux, models_folder / file, name)
    told, loaded = formats_told(load(file, compute_dtype="bf16"), file, models_folder)
    assert told == loaded
    assert name in {format_name for format_name, _ in told.values()}


def in_the_header(weights):
    layers = {}
    tensors = dict(weights)
    for name, config in (
        ("double_blocks.0.img_mlp.0", {"format": "float8_e4m3fn"}),
        ("double_blocks.0.img_mlp.2", {"format": "int8_tensorwise"}),
    ):
        (config_format,) = config.values()
        dtype = torch.int8 if config_format == "int8_tensorwise" else torch.float8_e4m3fn
        tensors[f"{name}.weight"] = weights[f"{name}.weight"].to(dtype)
        rows = len(weights[f"{name}.weight"]) if dtype == torch.int8 else 1
        tensors[f"{name}.weight_scale"] = torch.ones(rows, 1) if rows > 1 else torch.tensor(1.0)
        layers[name] = config
    return tensors, {"_quantization_metadata": json.dumps({"layers": layers})}


@pytest.mark.parametrize(
    ("make", "formats"),
    [
        (lambda weights: (old_layout(weights, 0), {}), {"fp8", "fp8_static", "bf16"}),
        (lambda weights: (old_layout(weights, 2), {}), {"fp8_w", "bf16"}),
        (in_the_header, {"fp8", "int8_w8a8", "bf16"}),
    ],
    ids=["old", "old, widened", "header"],
)
def test_report_and_model_name_formats_of_others_alike(
    make, formats, load, flux_weights, models_folder
):
    file = "diffusion_models/theirs.safetensors"
    tensors, metadata = make(flux_weights)
    save_file(tensors, models_folder / file, metadata)
    told, loaded = formats_told(load(file, compute_dtype="bf16"), file, models_folder)
    assert told == loaded
    assert {format_name for format_name, _ in told.values()} == formats


def test_plain_fp8_is_named_alike_where_comfyui_keeps_it(
    load, flux_weights, models_folder, monkeypatch
):
    """As on a GPU; on a CPU ComfyUI widens such a file to fp32, and the model's report says so."""
    import comfy.model_management as management

    file = "diffusion_models/plain.safetensors"
    tensors = {
        name: tensor.to(torch.float8_e4m3fn) if tensor.ndim == 2 else tensor
        for name, tensor in flux_weights.items()
    }
    save_file(tensors, models_folder / file)
    told, loaded = formats_told(load(file), file, models_folder)
    assert set(told.values()) == {("float8_e4m3fn", True)}
    assert set(loaded.values()) == {("fp32", False)}
    monkeypatch.setattr(management, "unet_dtype", lambda **options: options["weight_dtype"])
    told, loaded = formats_told(load(file), file, models_folder)
    assert told == loaded
