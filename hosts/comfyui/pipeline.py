"""The parts of making an image, each split into loading and computing, through core's own nodes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import comfy.model_management as management
import torch
from comfy.samplers import sampler_object
from comfy_extras.nodes_custom_sampler import SamplerCustom

from ...measure.protocol.experiment import Attempt
from ...measure.protocol.observation import join_optimizations
from ...measure.recording.window import Window
from ...quality.difference import broken
from ...quality.prompts import prompt_id
from ...records import Condition, PictureCheck
from .core import blank, run_core
from .describe import clip_facts, model_facts, vae_facts
from .host import HOST
from .ledgers import ledgers_of
from .pictures import arrays, pictures_sha256
from .sampling import observe_sampling
from .thumbnails import keep_thumbnail
from .workspace import settings_behind

LATENT_PX = 8
"""Core's ``EmptyLatentImage`` makes a point of this many pixels, and drops the rest."""


def encode_text(window: Window, clip: Any, text: str) -> Any:
    """As ``CLIPTextEncode``: CONDITIONING of ``text``, with the encoder loaded beforehand."""
    with window.phase("load"):
        clip.load_model(clip.tokenize(text))
    ledgers = ledgers_of(clip.patcher)
    ledgers.clear()
    with window.phase("text_encode"):
        conditioning = run_core("CLIPTextEncode", clip=clip, text=text)[0]
    window.kernel_calls += ledgers.read()
    return conditioning


def decode_latent(window: Window, vae: Any, samples: dict[str, Any]) -> Any:
    """As ``VAEDecode``: IMAGE ``[batch, height, width, 3]``, with the VAE loaded beforehand."""
    vae.throw_exception_if_invalid()
    latent = samples["samples"]
    if latent.is_nested:
        latent = latent.unbind()[0]
    with window.phase("load"):
        needed_bytes = vae.memory_used_decode(latent.shape, vae.vae_dtype)
        management.load_models_gpu(
            [vae.patcher], memory_required=needed_bytes, force_full_load=vae.disable_offload
        )
    ledgers = ledgers_of(vae.patcher)
    ledgers.clear()
    with window.phase("decode"):
        image = run_core("VAEDecode", vae=vae, samples=samples)[0]
    window.kernel_calls += ledgers.read()
    return image


def check_size(width: int, height: int, cell_px: int = LATENT_PX) -> None:
    """Refuse a size that a latent cannot have.

    Raises:
        ValueError: ComfyUI would make another picture than the table says.
    """
    if width % cell_px or height % cell_px:
        raise ValueError(
            f"width and height must be multiples of {cell_px}, they are {width} and {height}: "
            "ComfyUI would make a smaller picture than the table says"
        )


def scheduler_of(sigmas: Any) -> str:
    """A name for noise levels that a node gave: equal levels have equal names.

    Raises:
        ValueError: they are not finite levels that fall, at least two.
    """
    levels = sigmas.detach().float().cpu()
    falls = levels.ndim == 1 and len(levels) > 1 and bool((levels.diff() < 0).all())
    if not falls or not torch.isfinite(levels).all():
        raise ValueError(
            "sigmas must be at least two finite noise levels, each below the one before it; "
            "connect the output of a scheduler node"
        )
    return f"sigmas {sha256(levels.numpy().tobytes()).hexdigest()[:8]}"


@dataclass
class ImageJob:
    """A text-to-image job; the fields are named as the inputs of core's nodes are.

    ``sigmas`` are noise levels, ``[steps + 1]``, in place of those of ``steps`` and ``scheduler``.
    ``images`` are the pictures of the repeats, in order.

    Raises:
        ValueError: the picture would have another size than was asked for.
    """

    model: Any
    clip: Any
    vae: Any
    positive: str
    negative: str
    width: int
    height: int
    batch_size: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    sigmas: Any = None
    images: list[Any] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        cell_px = self.model.model.latent_format.spacial_downscale_ratio
        check_size(self.width, self.height, max(LATENT_PX, cell_px))
        if self.sigmas is not None:
            self.steps, self.scheduler = len(self.sigmas) - 1, scheduler_of(self.sigmas)
        self._observed = observe_sampling(self.model, self._record)
        parts = model_facts(self.model), clip_facts(self.clip), vae_facts(self.vae)
        facts = {name: value for part in parts for name, value in part.items()}
        settings = {"optimizations": settings_behind(HOST.node_id())}
        facts["optimizations"] = join_optimizations(*parts, settings)
        self.condition = Condition(
            **facts,
            width_px=self.width,
            height_px=self.height,
            batch_size=self.batch_size,
            steps=self.steps,
            cfg=self.cfg,
            sampler=self.sampler_name,
            scheduler=self.scheduler,
            prompts=prompt_id(self.positive, self.negative),
        )

    def _record(self, facts: dict[str, Any], seed: int | None) -> AbstractContextManager[Window]:
        facts.update(steps=self.steps, sampler=self.sampler_name)
        return nullcontext(self._window)

    @property
    def device(self) -> Any:
        """The torch device that the model runs on."""
        return self.model.load_device

    def make(self, window: Window, seed: int) -> Any:
        """Encode, denoise and decode: IMAGE ``[batch, height, width, 3]`` between 0 and 1.

        Raises:
            ValueError: the picture is not finite, so that its cost would mean nothing.
        """
        self._window = window
        size = {"width": self.width, "height": self.height, "batch_size": self.batch_size}
        (latent,) = run_core("EmptyLatentImage", **size)
        positive = encode_text(window, self.clip, self.positive)
        negative = encode_text(window, self.clip, self.negative)
        samples = self._sample(
            model=self._observed,
            cfg=self.cfg,
            positive=positive,
            negative=negative,
            latent_image=latent,
            seed=seed,
        )
        image = decode_latent(window, self.vae, samples)
        if not torch.isfinite(image).all():
            raise ValueError(
                "the picture holds NaN or infinity; try another weight format, VAE or attention"
            )
        return image

    def _sample(self, seed: int, **common: Any) -> dict[str, Any]:
        """As ``KSampler``, or where noise levels are given as ``SamplerCustom``."""
        if self.sigmas is None:
            settings = {"sampler_name": self.sampler_name, "scheduler": self.scheduler}
            return run_core("KSampler", seed=seed, steps=self.steps, **settings, **common)[0]
        sampler = sampler_object(self.sampler_name)
        return SamplerCustom().sample(
            add_noise=True, noise_seed=seed, sampler=sampler, sigmas=self.sigmas, **common
        )[0]

    def look_at(self, made: Any, attempt: Attempt) -> PictureCheck:
        """Keep the pictures of a repeat, and say of any whether it is black or flat."""
        sha256 = pictures_sha256([made])
        if not attempt.is_warmup:
            if not self.images:
                keep_thumbnail(sha256, made)
            self.images.append(made)
        faults = "; ".join(dict.fromkeys(filter(None, map(broken, arrays(made)))))
        return PictureCheck("", faults, sha256=sha256)


def as_one_batch(images: list[Any]) -> Any:
    """All pictures as one IMAGE; where there is none, what depends on them is not executed."""
    return torch.cat(images) if images else blank()
