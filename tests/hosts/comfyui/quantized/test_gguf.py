"""GGUF files of every kind of block and layout, against core's loader on the widened file."""

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wattbench.quant.ggml import BLOCK_TYPES
from wattbench.quant.gguf_files import GgufFile
from wattbench.quant.report import report_file

from ....corpus.ggufs import write_gguf
from ....corpus.sdxl import unet_shapes
from ....fidelity import psnr_db

Q = gguf.GGMLQuantizationType
LAYERS = ("double_blocks.0.img_mlp.0.weight", "double_blocks.0.img_mlp.2.weight")


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_blocks_stay_packed_and_give_what_core_makes_of_their_numbers(
    kind, comfyui, load, sample, flux_weights, models_folder
):
    folder = models_folder / "diffusion_models"
    kinds = dict.fromkeys(LAYERS, Q[kind])
    wide = write_gguf(folder / "theirs.gguf", flux_weights, kinds)
    save_file(wide, folder / "wide.safetensors")
    (stock,) = comfyui.UNETLoader().load_unet("wide.safetensors", "default")
    model = load("diffusion_models/theirs.gguf")
    assert psnr_db(sample(stock), sample(model)) > 50
    weight = model.model.diffusion_model.double_blocks[0].img_mlp[0].weight
    block = BLOCK_TYPES[kind]
    assert weight._qdata.numel() == weight.numel() // block.weights * block.nbytes


def test_a_matrix_that_was_laid_out_anew_has_its_own_shape(tmp_path):
    """640 x 640 in Q4_K: 4.5 bits, and the shape that ComfyUI computes with."""
    random = torch.Generator().manual_seed(0)
    weights = {"blocks.0.attn.weight": torch.randn(640, 640, generator=random)}
    path = tmp_path / "theirs.gguf"
    wide = write_gguf(path, weights, {"blocks.0.attn.weight": Q.Q4_K})
    save_file(wide, tmp_path / "wide.safetensors")
    (layer,) = report_file(path, tmp_path / "wide.safetensors").layers
    assert layer.shape == (640, 640)
    assert layer.bits_per_weight == 4.5
    assert layer.fidelity.sqnr_db > 100


def test_an_integer_tensor_is_read_as_it_is(tmp_path):
    path = tmp_path / "theirs.gguf"
    write_gguf(
        path, {"a.weight": torch.ones(2, 2)}, {}, extra={"ids": np.arange(4, dtype=np.int32)}
    )
    with GgufFile(path) as file:
        assert torch.equal(file.read("ids"), torch.arange(4, dtype=torch.int32))


def test_sdxl_is_known_by_the_shapes_that_its_blocks_compute_with(load, models_folder):
    """``attn2.to_k`` in Q8_0 has rows of 2176 bytes, and a context of 2048."""
    shapes = unet_shapes()
    weights = {name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in shapes.items()}
    kinds = {n: Q.Q8_0 for n, s in shapes.items() if "attn" in n and len(s) == 2}
    path = models_folder / "diffusion_models" / "sdxl.gguf"
    write_gguf(path, weights, kinds, "sdxl", {"ids": np.arange(4, dtype=np.int32)})
    model = load("diffusion_models/sdxl.gguf", compute_dtype="bf16")
    assert type(model.model).__name__ == "SDXL"
    unet = model.model.diffusion_model
    attention = unet.input_blocks[4][1].transformer_blocks[0].attn2
    assert tuple(attention.to_k.weight.shape) == (320, 2048)
    assert attention.to_k.layer.format.name == "gguf:Q8_0"
