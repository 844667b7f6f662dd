from modules import shared


class InterruptedException(BaseException):
    pass


def apply_refiner(cfg_denoiser, x):
    from backend.sampling_function import sampling_prepare
    from modules import sd_models

    p = cfg_denoiser.p
    switch_at = p.refiner_switch_at
    if switch_at is None or cfg_denoiser.step / cfg_denoiser.total_steps < switch_at:
        return False
    if sd_models.model_data.sd_model.sd_checkpoint_info.filename == p.refiner_checkpoint:
        return False
    sd_models.select(p.refiner_checkpoint)
    sd_models.forge_model_reload()
    p.setup_conds()
    sampling_prepare(sd_models.model_data.sd_model.forge_objects.unet, x=x)
    return True


class Sampler:
    def __init__(self, funcname):
        self.funcname = funcname
        self.last_latent = None
        self.p = None
        self.sampler_extra_args = None

    def callback_state(self, d):
        shared.state.sampling_step = d["i"]

    def launch_sampling(self, steps, func):
        self.model_wrap_cfg.steps = self.model_wrap_cfg.total_steps = steps
        try:
            return func()
        except InterruptedException:
            return self.last_latent
