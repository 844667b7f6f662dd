"""Files that we write load in ComfyUI's own loaders, and in ours, and give nearly the same."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from ..fidelity import psnr_db

STOCK = ("fp8_w", "fp8", "fp8_static", "int8", "int8_w8a8", "int4_gemm")
PSNR_FLOOR_DB = {"int4_gemm": 40}
"""Of what one step makes; 55 dB for the 8-bit formats."""


@pytest.fixture(scope="module")
def folders(comfyui, tmp_path_factory):
    """Folders of checkpoints and diffusion models that ComfyUI looks into."""
    import folder_paths

    base = tmp_path_factory.mktemp("models")
    before = {}
    for kind in ("checkpoints", "diffusion_models"):
        (base / kind).mkdir()
        before[kind] = folder_paths.folder_names_and_paths[kind]
        suffixes = folder_paths.folder_names_and_paths[kind][1]
        folder_paths.folder_names_and_paths[kind] = ([str(base / kind)], suffixes)
    folder_paths.filename_list_cache.clear()
    yield base
    folder_paths.folder_names_and_paths.update(before)
    folder_paths.filename_list_cache.clear()


def diffusion_weights(model):
    """Of a MODEL, as a file has them: bf16, in ComfyUI's names."""
    module = model.model.diffusion_model
    return {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in module.state_dict().items()
    }


@pytest.fixture(scope="module")
def files(folders, tiny_models):
    """Two diffusion models and a checkpoint, as ``kind/name``."""
    made = {}
    with torch.inference_mode():
        for architecture in ("flux", "sd35"):
            name = f"tiny_{architecture}.safetensors"
            weights = diffusion_weights(tiny_models(architecture).model)
            save_file(weights, folders / "diffusion_models" / name, {"title": architecture})
            made[architecture] = f"diffusion_models/{name}"
        inner = {f"model.diffusion_model.{name}": t for name, t in weights.items()}
        convolution, projection = torch.linspace(-1, 1, 216), torch.linspace(-1, 1, 64)
        inner["first_stage_model.encoder.conv_in.weight"] = convolution.reshape(8, 3, 3, 3)
        inner["text_encoders.clip_l.text_projection.weight"] = projection.reshape(8, 8)
        save_file(inner, folders / "checkpoints" / "whole.safetensors")
    made["checkpoint"] = "checkpoints/whole.safetensors"
    return made


@pytest.fixture(scope="module")
def calibrations(files, comfyui, tiny_models, folders):
    """Plausible scales for every layer that takes one."""
    from wattbench.hosts.comfyui.linear import linear_layers
    from wattbench.quant.calibrate import ActivationRange, Calibration

    found = ActivationRange(8.0, 4.0, 8.0, 1)
    return {
        architecture: Calibration(
            architecture,
            100.0,
            1,
            {name: found for name, _, _ in linear_layers(tiny_models(architecture).model)},
        )
        for architecture in ("flux", "sd35")
    }


@pytest.fixture(scope="module")
def quantized(folders, files, calibrations):
    """A function that runs the node once per architecture and format and answers the path."""
    from pathlib import Path

    from wattbench.nodes.quantize import WattBenchQuantizeCheckpoint

    made = {}

    def quantize(architecture, name):
        if (architecture, name) not in made:
            calibration = calibrations[architecture] if name == "fp8_static" else None
            output = WattBenchQuantizeCheckpoint.execute(
                files[architecture], name, "", "", "as they are", calibration
            )
            made[architecture, name] = Path(output.result[0])
        return made[architecture, name]

    return quantize


def evaluate(model):
    """What one step of a MODEL makes of noise."""
    import comfy.sample

    random = torch.Generator().manual_seed(1)
    config = model.model.model_config.unet_config
    rows, pooled = text_widths(config)
    noise = torch.randn((1, model.model.latent_format.latent_channels, 8, 8), generator=random)
    context = torch.randn((1, 7, rows), generator=random)
    condition = [[context, {"pooled_output": torch.randn((1, pooled), generator=random)}]]
    settings = (1, 1.0, "euler", "simple", condition, condition, torch.zeros_like(noise))
    return comfy.sample.sample(model, noise, *settings, seed=0)


def text_widths(config):
    """Of rows of the text conditioning, and of its pooled vector."""
    if "context_in_dim" in config:
        return config["context_in_dim"], config["vec_in_dim"]
    embedder = config["context_embedder_config"]["params"]
    return embedder["in_features"], config["adm_in_channels"]


@pytest.mark.parametrize("name", STOCK)
@pytest.mark.parametrize("architecture", ["flux", "sd35"])
def test_comfyuis_own_loader_reads_our_files(
    quantized, files, folders, comfyui, architecture, name
):
    import comfy.sd

    original = comfy.sd.load_diffusion_model(str(folders / files[architecture]))
    loaded = comfy.sd.load_diffusion_model(str(quantized(architecture, name)))
    assert loaded is not None
    formats = {getattr(m, "quant_format", None) for m in loaded.model.diffusion_model.modules()}
    assert formats - {None} <= {"float8_e4m3fn", "int8_tensorwise", "convrot_w4a4"}
    assert formats - {None}
    before, after = evaluate(original), evaluate(loaded)
    assert torch.isfinite(after).all()
    assert psnr_db(before, after) > PSNR_FLOOR_DB.get(name, 55)


def test_a_checkpoint_keeps_its_text_encoder_and_vae(files, folders, quantized, calibrations):
    from wattbench.nodes.quantize import WattBenchQuantizeCheckpoint

    output = WattBenchQuantizeCheckpoint.execute(
        files["checkpoint"], "fp8", "smaller", "", "as they are"
    )
    made = folders / "checkpoints" / "smaller.safetensors"
    assert output.result == (str(made),)
    assert "layers stored as: fp8" in output.ui.as_dict()["text"][0]
    before, after = load_file(folders / "checkpoints" / "whole.safetensors"), load_file(made)
    others = [name for name in before if not name.startswith("model.diffusion_model.")]
    assert len(others) == 2
    for name in others:
        assert torch.equal(before[name], after[name])
        assert before[name].dtype == after[name].dtype
    assert sum(t.dtype == torch.float8_e4m3fn for t in after.values()) > 5


def test_a_choice_that_is_gone_and_a_name_with_a_folder_are_refused(files):
    from wattbench.nodes.quantize import WattBenchQuantizeCheckpoint

    with pytest.raises(FileNotFoundError, match="gone"):
        WattBenchQuantizeCheckpoint.execute(
            "checkpoints/gone.safetensors", "fp8", "", "", "as they are"
        )
    with pytest.raises(ValueError, match="without a folder"):
        WattBenchQuantizeCheckpoint.execute(files["flux"], "fp8", "../up", "", "as they are")


def test_cancelling_leaves_no_file(files, folders):
    import comfy.model_management as management

    from wattbench.nodes.quantize import WattBenchQuantizeCheckpoint

    management.interrupt_current_processing()
    with pytest.raises(management.InterruptProcessingException):
        WattBenchQuantizeCheckpoint.execute(files["flux"], "nf4", "stopped", "", "as they are")
    assert [p.name for p in (folders / "diffusion_models").iterdir() if "stopped" in p.name] == []


def test_the_schema_lists_the_files_of_both_folders(files):
    from wattbench.nodes.quantize import WattBenchQuantizeCheckpoint

    (file,) = (i for i in WattBenchQuantizeCheckpoint.define_schema().inputs if i.id == "file")
    assert set(files.values()) <= set(file.options)
