"""Graphs as users have them, in API format, of a tiny model with random weights."""


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def sdxl(loader=None, size_px=64, steps=2, seed=1):
    """Loader, two texts, an empty latent, KSampler, VAE decoder, SaveImage: nodes 1 to 7.

    ``loader`` is a node with MODEL, CLIP and VAE; default the tiny synthetic model.
    """
    model = node("WattBenchSyntheticModel", architecture="sdxl", size="tiny", dtype="fp32", seed=0)
    return {
        "1": loader or model,
        "2": node("CLIPTextEncode", clip=["1", 1], text="a moth"),
        "3": node("CLIPTextEncode", clip=["1", 1], text=""),
        "4": node("EmptyLatentImage", width=size_px, height=size_px, batch_size=1),
        "5": node(
            "KSampler",
            model=["1", 0],
            positive=["2", 0],
            negative=["3", 0],
            latent_image=["4", 0],
            seed=seed,
            steps=steps,
            cfg=4.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": node("SaveImage", images=["6", 0], filename_prefix="x"),
    }


def second_sampler(graph, model, steps=2):
    """``graph`` with SamplerCustomAdvanced behind its KSampler, on ``model``: nodes 8 to 12."""
    return {
        **graph,
        "6": node("VAEDecode", samples=["12", 0], vae=["1", 2]),
        "8": node("RandomNoise", noise_seed=7),
        "9": node("KSamplerSelect", sampler_name="euler"),
        "10": node("BasicScheduler", model=model, scheduler="normal", steps=steps, denoise=0.6),
        "11": node("CFGGuider", model=model, positive=["2", 0], negative=["3", 0], cfg=4.0),
        "12": node(
            "SamplerCustomAdvanced",
            noise=["8", 0],
            guider=["11", 0],
            sampler=["9", 0],
            sigmas=["10", 0],
            latent_image=["5", 0],
        ),
    }
