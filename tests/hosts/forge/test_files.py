"""A file is the same condition in Forge as in ComfyUI: by its mark, wherever it lies."""

import pytest
import torch
from safetensors.torch import save_file

from wattbench.measure.recording.model_file import mark_of_files


@pytest.fixture
def files(tmp_path):
    """A checkpoint, a VAE, a text encoder, and a file that does not tell what it holds."""
    names = {
        "model": "model.diffusion_model.x",
        "vae": "decoder.conv_in.weight",
        "encoder": "text_model.encoder.x",
    }
    found = {}
    for number, (name, key) in enumerate(names.items()):
        found[name] = str(tmp_path / f"{name}.safetensors")
        save_file({key: torch.full((4,), float(number))}, found[name])
    found["old"] = str(tmp_path / "old.pt")
    torch.save({"decoder.conv_in.weight": torch.zeros(1)}, found["old"])
    return found


@pytest.fixture
def condition_of(forge, files):
    """The condition of a generation with this checkpoint and these added files."""

    def make(*added, checkpoint="model"):
        loading = {"checkpoint_info": files.get(checkpoint, checkpoint)}
        loading["additional_modules"] = [files[name] for name in added]
        forge.sd_models.model_data.forge_loading_parameters = loading
        forge.generate()
        forge.assert_untouched()
        return forge.runs[-1].condition

    return make


@pytest.mark.parametrize(
    ("added", "vae", "encoder"),
    [
        ((), "model", "model"),
        (("vae",), "vae", "model"),
        (("encoder",), "model", "encoder"),
        (("encoder", "vae"), "vae", "encoder"),
        (("old",), None, None),
        (("vae", "old"), None, None),
    ],
)
def test_each_part_has_the_mark_of_its_file(condition_of, files, added, vae, encoder):
    def marked(kind, name):
        return kind if name is None else f"{kind} {mark_of_files([files[name]])}"

    condition = condition_of(*added)
    assert condition.weights == f"file {mark_of_files([files['model']])}"
    assert condition.vae == marked("AutoencoderKL fp32", vae)
    assert condition.text_encoder == marked("clip_l fp16", encoder)


def test_a_file_that_is_gone_has_no_mark(condition_of):
    condition = condition_of(checkpoint="nowhere/x.safetensors")
    assert (condition.weights, condition.vae) == ("file", "AutoencoderKL fp32")
