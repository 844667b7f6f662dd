import torch
from backend import memory_management


class IntegratedAutoencoderKL(torch.nn.Module):
    def decode(self, z):
        return torch.nn.functional.interpolate(z[:, :3].sigmoid(), scale_factor=8)


class VAE:
    def __init__(self, patcher):
        self.first_stage_model, self.vae_dtype = IntegratedAutoencoderKL(), torch.float32
        self.patcher, self.is_tiled = patcher, False

    def decode(self, samples_in):
        if self.is_tiled:
            return self.decode_tiled(samples_in)
        memory_management.load_models_gpu([self.patcher], memory_required=1)
        return self.first_stage_model.decode(samples_in).movedim(1, -1)

    def decode_tiled(self, samples, tile_x=64, tile_y=64, overlap=16):
        memory_management.load_model_gpu(self.patcher)
        return self.first_stage_model.decode(samples).movedim(1, -1)

    def encode(self, pixel_samples):
        memory_management.load_models_gpu([self.patcher], memory_required=1)
        small = torch.nn.functional.interpolate(pixel_samples.movedim(-1, 1), scale_factor=1 / 8)
        return torch.cat([small, small[:, :1]], dim=1)

    def encode_tiled(self, pixel_samples, tile_x=512, tile_y=512, overlap=64):
        return self.encode(pixel_samples)
