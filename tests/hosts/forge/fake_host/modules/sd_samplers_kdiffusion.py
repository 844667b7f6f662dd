import torch
from backend.sampling_function import sampling_prepare

from modules import sd_samplers_cfg_denoiser, sd_samplers_common


class KDiffusionSampler(sd_samplers_common.Sampler):
    def __init__(self, funcname, sd_model, options=None):
        super().__init__(funcname)
        self.model_wrap_cfg = sd_samplers_cfg_denoiser.CFGDenoiser(self)
        self.model = sd_model

    def get_sigmas(self, p, steps):
        return torch.linspace(1, 0, (p.merged_steps or steps) + 1)

    def sample(self, p, x, conditioning, unconditional_conditioning, steps=None):
        sampling_prepare(self.model.forge_objects.unet, x=x)
        steps = steps or p.steps
        sigmas = self.get_sigmas(p, steps)
        self.p = self.model_wrap_cfg.p = p
        self.last_latent = x
        self.sampler_extra_args = {"cond": conditioning, "cond_scale": p.cfg_scale}

        def func(latent):
            for i in range(len(sigmas) - 1):
                order = 2 if self.funcname == "sample_heun" else 1
                for _ in range(order):
                    latent = self.model_wrap_cfg.forward(
                        latent, sigmas[i], unconditional_conditioning, conditioning, p.cfg_scale
                    )
                self.last_latent = latent
                self.callback_state({"i": i})
            return latent

        return self.launch_sampling(steps, lambda: func(x))
