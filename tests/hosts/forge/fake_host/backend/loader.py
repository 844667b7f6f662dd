"""Makes a model of the file's name: nothing is read."""

from types import SimpleNamespace

import torch
from backend import memory_management
from backend.diffusion_engine.base import ForgeDiffusionEngine
from backend.modules.k_model import KModel
from backend.nn.unet import IntegratedUNet2DConditionModel
from backend.patcher.vae import VAE


class SD15:
    unet_config = {"model_channels": 320}


class UnetPatcher:
    def __init__(self, model):
        self.model, self.load_device = model, torch.device("cpu")
        self.lora_patches, self.object_patches = {}, {}
        self.model_options = {"transformer_options": {}}
        self.controlnet_linked_list = None


class StableDiffusion(ForgeDiffusionEngine):
    def __init__(self, filename):
        self.model_config = SD15()
        self.sd_checkpoint_info = SimpleNamespace(filename=filename)
        clip = torch.nn.ModuleDict({"clip_l": torch.nn.Linear(2, 2).half()})
        self.forge_objects = SimpleNamespace(
            unet=UnetPatcher(KModel(IntegratedUNet2DConditionModel())),
            clip=SimpleNamespace(cond_stage_model=clip, patcher=object()),
            vae=VAE(object()),
        )

    def get_learned_conditioning(self, prompt):
        memory_management.load_model_gpu(self.forge_objects.clip.patcher)
        return torch.zeros(len(prompt), 77, 8)


def forge_loader(sd, additional_state_dicts=None):
    return StableDiffusion(sd)
