"""What a file says outside of its diffusion model stays true of every model made of it."""

import pytest
import torch

from ....corpus.sdxl import FACTS, write_variant


def told(inner):
    """What ComfyUI takes a model for: its prediction, noise levels and latent."""
    sampling = inner.model_sampling
    return {
        "type": inner.model_type,
        "classes": [c.__name__ for c in type(sampling).__mro__],
        "sigmas": (float(sampling.sigma_min), float(sampling.sigma_max)),
        "zsnr": getattr(sampling, "zsnr", None),
        "latent": type(inner.latent_format).__name__,
        "config": type(inner.model_config).__name__,
    }


@pytest.fixture
def core(comfyui):
    """A function: what core's own steps of loading take a file for, built without numbers."""
    import comfy.model_detection as detection
    import comfy.utils

    def core(path):
        tensors, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
        prefix = detection.unet_prefix_from_state_dict(tensors)
        prefix = prefix if any(name.startswith(prefix) for name in tensors) else ""
        tensors, metadata = comfy.utils.convert_old_quants(tensors, prefix, metadata=metadata)
        config = detection.model_config_from_unet(tensors, prefix, metadata=metadata)
        config.set_inference_dtype(torch.bfloat16, None)
        return told(config.get_model(tensors, prefix, device=torch.device("meta")))

    return core


@pytest.mark.parametrize("kind", FACTS)
def test_prediction_noise_and_latent_are_cores(kind, core, load, models_folder):
    path = models_folder / "checkpoints" / "sdxl.safetensors"
    write_variant(path, kind)
    expected = core(path)
    made = load("checkpoints/sdxl.safetensors", "fp8_w", save_as="kept", compute_dtype="bf16")
    assert told(made.model) == expected
    assert core(models_folder / "diffusion_models" / "kept.safetensors") == expected
    if kind == "Playground 2.5":
        assert expected["latent"] == "SDXL_Playground_2_5"
        assert told(load("diffusion_models/kept.safetensors").model) == expected


def test_a_quantized_copy_of_a_model_says_what_the_model_says(comfyui, core, models_folder):
    from wattbench.nodes.quantized import WattBenchQuantizeModel

    path = models_folder / "checkpoints" / "sdxl.safetensors"
    write_variant(path, "Playground 2.5")
    original = comfyui.CheckpointLoaderSimple().load_checkpoint(path.name)[0]
    assert told(original.model) == core(path)
    (quantized,) = WattBenchQuantizeModel.execute(
        model=original, weight_format="fp8_w", compute_dtype="bf16", layers=""
    ).result
    assert told(quantized.model) == core(path)
    assert quantized.model.diffusion_model is not original.model.diffusion_model


def test_a_bare_file_says_it_as_well(core, load, models_folder):
    path = models_folder / "diffusion_models" / "bare.safetensors"
    write_variant(path, "v_pred, ztsnr", "")
    model = load("diffusion_models/bare.safetensors", compute_dtype="bf16")
    assert told(model.model) == core(path)
    assert told(model.model)["zsnr"] is True


def test_a_converted_checkpoint_says_it_to_core(core, models_folder):
    from wattbench.quant.convert import Request, convert_file
    from wattbench.quant.formats import find

    folder = models_folder / "checkpoints"
    write_variant(folder / "sdxl.safetensors", "CosXL")
    convert_file(folder / "sdxl.safetensors", folder / "eight.safetensors", Request(find("fp8")))
    expected = core(folder / "sdxl.safetensors")
    assert core(folder / "eight.safetensors") == expected
    assert expected["sigmas"][1] == pytest.approx(120.0)
