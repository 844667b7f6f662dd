import branch

from modules import sd_models, sd_samplers_common, shared

if branch.NAME == "neo":
    from modules_forge import forge_sampler
else:
    from backend.sampling_function import sampling_function


class Wrap:
    @property
    def inner_model(self):
        return sd_models.model_data.sd_model


class CFGDenoiser:
    def __init__(self, sampler):
        self.sampler, self.p, self.step = sampler, None, 0
        self.inner_model = Wrap()

    def forward(self, x, sigma, uncond, cond, cond_scale):
        if shared.state.interrupted or shared.state.skipped:
            raise sd_samplers_common.InterruptedException
        sd_samplers_common.apply_refiner(self, x)
        if branch.NAME == "neo":
            denoised = forge_sampler.forge_sample(
                self, denoiser_params=(x, sigma), cond_scale=cond_scale, cond_composition=cond
            )
        else:
            denoised = sampling_function(
                self, denoiser_params=(x, sigma), cond_scale=cond_scale, cond_composition=cond
            )
        self.step += 1
        return denoised
