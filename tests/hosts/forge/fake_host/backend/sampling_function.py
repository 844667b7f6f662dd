"""In Forge ``backend.sampling.sampling_function``: prepares, and evaluates a model once."""

from backend import memory_management

control = None


def sampling_prepare(unet, x):
    memory_management.load_models_gpu(models=[unet], memory_required=1, hard_memory_preservation=0)


def sampling_function(self, denoiser_params, cond_scale, cond_composition):
    x, sigma = denoiser_params
    unet = self.inner_model.inner_model.forge_objects.unet
    c = {"c_crossattn": cond_composition}
    if unet.controlnet_linked_list is not None:
        c |= {"control": {}, "control_model": unet.controlnet_linked_list}
    if cond_scale == 1:
        return unet.model.apply_model(x, sigma, **c)
    both = x.repeat(2, 1, 1, 1)
    cond, uncond = unet.model.apply_model(both, sigma, **c).chunk(2)
    return uncond + (cond - uncond) * min(cond_scale, 1.5)
