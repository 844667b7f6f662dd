"""Every layout of the corpus, through loader, report and converter.

The oracle is ComfyUI's own loader on the file that was quantized.
"""

import pytest
import torch
from safetensors.torch import save_file

from wattbench.quant.convert import Request, convert_file
from wattbench.quant.files import FileError
from wattbench.quant.formats import find
from wattbench.quant.report import report_file

from ....corpus.layouts import NO_MODELS, READ, REFUSED, on_a_square
from ....fidelity import FLOOR_DB, psnr_db

FP8_DB = 25
"""SQNR of E5M2; E4M3 with one scale has 31.6 dB."""


@pytest.fixture(scope="module")
def uneven(flux_weights):
    """The weights, with rows of one square matrix whose sizes go from 1/100 to 100."""
    name = "double_blocks.0.img_attn.proj.weight"
    sizes = torch.logspace(-2, 2, len(flux_weights[name]))[:, None]
    return {**flux_weights, name: (flux_weights[name].float() * sizes).to(torch.bfloat16)}


LATENTS = {}
"""What core makes of the two originals, sampled once."""


@pytest.fixture
def latent_of(comfyui, sample):
    def latent_of(original):
        key = original.stem
        if key not in LATENTS:
            (stock,) = comfyui.UNETLoader().load_unet(original.name, "default")
            LATENTS[key] = sample(stock)
        return LATENTS[key]

    return latent_of


def write(path, layout):
    tensors, metadata = layout
    save_file({name: t.contiguous() for name, t in tensors.items()}, path, metadata)
    return path


@pytest.mark.parametrize("name", READ)
def test_a_layout_gives_what_core_makes_of_the_original(
    name, latent_of, load, sample, flux_weights, uneven, models_folder
):
    from wattbench.hosts.comfyui.quantized.report import report_model

    weights, stem = (uneven, "uneven") if "square" in name else (flux_weights, "even")
    folder = models_folder / "diffusion_models"
    original = write(folder / f"{stem}.safetensors", (weights, {}))
    path = write(folder / "theirs.safetensors", READ[name](weights))
    model = load("diffusion_models/theirs.safetensors")
    assert psnr_db(latent_of(original), sample(model)) > FLOOR_DB
    told = report_file(path, original)
    quantized = [layer for layer in told.layers if layer.is_quantized]
    assert quantized
    assert all(layer.fidelity.sqnr_db > FP8_DB for layer in quantized)
    loaded = {layer.name: layer.format for layer in report_model(model, None).layers}
    assert {layer.format for layer in quantized} == {loaded[layer.name] for layer in quantized}
    with pytest.raises(FileError, match="is quantized already"):
        convert_file(path, folder / "twice.safetensors", Request(find("int8")))


@pytest.mark.parametrize("name", REFUSED)
def test_a_layout_that_would_be_noise_is_refused_by_name(name, load, flux_weights, models_folder):
    layout, message = REFUSED[name]
    made = layout(flux_weights)
    path = models_folder / "diffusion_models" / "theirs.safetensors"
    write(path, made if isinstance(made, tuple) else (made, {}))
    for read in (lambda: load("diffusion_models/theirs.safetensors"), lambda: report_file(path)):
        with pytest.raises(FileError, match=message) as refusal:
            read()
        assert "theirs.safetensors" in str(refusal.value)
        assert "\n" not in str(refusal.value)
    with pytest.raises(FileError, match=r"is quantized already|said to be"):
        convert_file(path, path.with_name("twice.safetensors"), Request(find("int8")))


def test_a_scale_per_row_of_a_square_matrix_is_kept(load, sample, uneven, models_folder):
    """Saved and loaded again, by us and by core, which multiplies a scale ``[out]`` by columns."""
    path = models_folder / "diffusion_models" / "theirs.safetensors"
    write(path, (on_a_square(uneven), {}))
    latent = sample(load("diffusion_models/theirs.safetensors", save_as="kept"))
    assert psnr_db(latent, sample(load("diffusion_models/kept.safetensors"))) > 60


@pytest.mark.parametrize("name", NO_MODELS)
def test_what_is_no_model_is_refused_by_what_it_is(name, tmp_path):
    mark, kind = NO_MODELS[name]
    path = tmp_path / "theirs.safetensors"
    save_file({mark: torch.ones(64, 64), "alpha": torch.ones(1)}, path)
    with pytest.raises(FileError, match=rf"theirs\.safetensors is {kind}, and"):
        convert_file(path, tmp_path / "new.safetensors", Request(find("int8")))
    assert not (tmp_path / "new.safetensors").exists()
