def forge_sample(self, denoiser_params, cond_scale, cond_composition):
    from backend.sampling_function import sampling_function

    return sampling_function(self, denoiser_params, cond_scale, cond_composition)
