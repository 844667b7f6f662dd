"""ComfyUI's own full-size models on the meta device, where nothing is computed or allocated."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from wattbench.hosts.remote.server import find_comfyui


@pytest.fixture(scope="session")
def comfyui_meta():
    """ComfyUI's modules, imported into this process for the CPU."""
    path = str(find_comfyui())
    if path not in sys.path:
        sys.path.insert(0, path)  # before the working directory, whose `nodes` is the pack's
    from comfy.cli_args import args

    args.cpu = True
    import comfy.ldm.flux.model
    import comfy.ldm.lumina.model
    import comfy.ldm.models.autoencoder
    import comfy.ldm.modules.diffusionmodules.mmdit
    import comfy.ldm.modules.diffusionmodules.openaimodel
    import comfy.ldm.qwen_image.model
    import comfy.ldm.wan.vae
    import comfy.model_detection
    import comfy.model_management
    import comfy.ops
    import comfy.samplers
    import comfy.supported_models

    return SimpleNamespace(comfy=comfy)


@pytest.fixture(scope="session")
def count_flops():
    """What torch's counter sees while a callable runs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def count(call):
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            result = call()
        return counter.get_total_flops(), result

    return count
