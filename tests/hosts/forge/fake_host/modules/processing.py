"""A generation in Forge's order: scripts, model, prompts, sampling, decoding, saving."""

from copy import copy

import numpy as np
import torch
from PIL import Image

from modules import face_restoration, sd_models, sd_samplers_kdiffusion, shared
from modules.upscaler import Upscaler

opt_f = 8
saved = []


class StableDiffusionProcessing:
    cached_uc = [None, None, None]
    cached_c = [None, None, None]

    def __init__(self, scripts=None, script_args=None, **settings):
        self.prompt, self.negative_prompt = "a cat", "blurry"
        self.width = self.height = 64
        self.batch_size = self.n_iter = 1
        self.steps, self.cfg_scale, self.seed, self.subseed = 3, 7.0, 5, -1
        self.sampler_name, self.scheduler, self.hr_cfg = "sample_euler", "Normal", 1.0
        self.merged_steps = self.refiner_checkpoint = self.refiner_switch_at = None
        self.enable_hr = self.is_hr_pass = self.is_api = self.do_not_save_grid = False
        self.latent_upscale, self.restores_faces = True, False
        self.override_settings, self.extra_generation_params, self.comments = {}, {}, {}
        self.all_seeds = self.all_prompts = None
        vars(self).update(settings)
        self.cached_uc = StableDiffusionProcessing.cached_uc
        self.cached_c = StableDiffusionProcessing.cached_c
        self.scripts, self.script_args = scripts, script_args or {}
        if scripts is not None:
            scripts.setup_scripts(self)

    @property
    def sd_model(self):
        return sd_models.model_data.sd_model

    def comment(self, text):
        self.comments[text] = 1

    def close(self):
        StableDiffusionProcessing.closed = True

    def setup_conds(self):
        encode = type(self.sd_model).get_learned_conditioning
        self.uc = self.get_conds_with_caching(
            encode, self.negative_prompt, self.steps, [self.cached_uc], {}
        )
        self.c = self.get_conds_with_caching(encode, self.prompt, self.steps, [self.cached_c], {})

    def get_conds_with_caching(
        self,
        function,
        required_prompts,
        steps,
        caches,
        extra_network_data,
        hires_steps=None,
    ):
        known = (required_prompts, sd_models.model_data.forge_hash)
        for cache in caches:
            if cache[0] == known:
                return cache[1]
        caches[0][:2] = known, function(self.sd_model, [required_prompts])
        return caches[0][1]

    def sample(self):
        rng = torch.Generator().manual_seed(self.seed + self.iteration)
        shape = self.batch_size, 4, self.height // opt_f, self.width // opt_f
        samples = self._pass(torch.randn(shape, generator=rng))
        if not self.enable_hr:
            return samples
        self.is_hr_pass = True
        if self.latent_upscale:
            samples = torch.nn.functional.interpolate(samples, scale_factor=2)
        else:
            pixels = self.sd_model.forge_objects.vae.decode(samples)
            image = Image.fromarray((pixels[0].numpy() * 255).astype(np.uint8))
            large = np.asarray(Upscaler().upscale(image, 2)).astype(np.float32) / 255
            samples = self.sd_model.forge_objects.vae.encode(torch.from_numpy(large)[None])
        return self._pass(samples)

    def _pass(self, x):
        if self.scripts is not None:
            self.scripts.process_before_every_sampling(self, x=x)
        sampler = sd_samplers_kdiffusion.KDiffusionSampler(self.sampler_name, self.sd_model)
        return sampler.sample(self, x, self.c, self.uc)


class Processed:
    def __init__(self, p, images_list, seed=-1, info="", infotexts=None, comments=""):
        self.images, self.seed, self.info, self.comments = images_list, seed, info, comments
        self.infotexts = infotexts or [info] * len(images_list)
        self.index_of_first_image = 0


def get_fixed_seed(seed):
    return 1234 if seed == -1 else seed


def process_images(p):
    if p.scripts is not None:
        p.scripts.before_process(p)
    stored = copy(shared.opts.data)
    try:
        shared.opts.data.update(p.override_settings)
        sd_models.forge_model_reload()
        return process_images_inner(p)
    finally:
        shared.opts.data.clear()
        shared.opts.data.update(stored)


@torch.inference_mode()
def process_images_inner(p):
    p.all_prompts = [p.prompt] * p.batch_size * p.n_iter
    p.all_seeds = [get_fixed_seed(p.seed) + n for n in range(len(p.all_prompts))]
    if p.scripts is not None:
        p.scripts.process(p)
    images, texts = [], []
    for n in range(p.n_iter):
        if shared.state.interrupted or shared.state.stopping_generation:
            break
        p.iteration = n
        p.setup_conds()
        samples = p.sample()
        pixels = p.sd_model.forge_objects.vae.decode(samples).movedim(-1, 1)
        if p.scripts is not None:
            p.scripts.postprocess_batch(p, pixels, batch_number=n)
        for pixel in pixels:
            picture = (255.0 * np.moveaxis(pixel.numpy(), 0, 2)).astype(np.uint8)
            if p.restores_faces:
                picture = face_restoration.restore_faces(picture)
            image = Image.fromarray(picture)
            if p.scripts is not None:
                p.scripts.postprocess_image(p, image)
            text = ", ".join(f"{k}: {v}" for k, v in p.extra_generation_params.items() if v)
            saved.append((image, text))
            images.append(image)
            texts.append(text)
    res = Processed(p, images, p.all_seeds[0], texts[0] if texts else "", texts)
    if p.scripts is not None:
        p.scripts.postprocess(p, res)
    return res
