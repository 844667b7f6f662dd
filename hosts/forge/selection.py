"""What a generation is made with besides Forge's own settings: attention, and memory format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from modules import sd_models

from ...attention.choices import Choices
from ...attention.plan import Setting
from ...offer import machine_of
from ...quant.memory_format import NAME, convert, convolutions, resident
from ...records import KernelCalls
from .attention import ForgeAttention
from .host import FORGE

AS_LOADED = "as loaded"
MEMORY_FORMATS = (AS_LOADED, NAME)


class Selection:
    """Args:
    setting: of attention.
    memory_format: one of :data:`MEMORY_FORMATS`.
    is_sampling: whether a sampling goes on in this thread.
    """

    def __init__(
        self, setting: Setting, memory_format: str, is_sampling: Callable[[], bool]
    ) -> None:
        memory = Choices(FORGE.user_folder() / "wattbench" / "attention.json")
        machine = machine_of(FORGE.device())
        self.attention = ForgeAttention(setting, machine, memory, is_sampling)
        self._memory_format = memory_format

    def facts(self, known: dict[str, Any]) -> dict[str, Any]:
        """The facts of a sampling with what was selected for it."""
        own = [] if self._memory_format == AS_LOADED else [self._memory_format]
        optimizations = filter(None, (*own, known["optimizations"]))
        return {
            **known,
            "attention": self.attention.name,
            "optimizations": ", ".join(optimizations),
        }

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """The model that is loaded now computes as selected, until the block ends.

        Raises:
            ValueError: it has no 2-D convolution that could be in another format.
        """
        self.attention.clear()
        with self.attention.installed(), self._arranged():
            yield

    @contextmanager
    def _arranged(self) -> Iterator[None]:
        if self._memory_format == AS_LOADED:
            yield
            return
        unet = sd_models.model_data.get_sd_model().forge_objects.unet
        network = unet.model.diffusion_model
        if not convolutions(network):
            raise ValueError(
                f"{type(network).__name__} has no 2-D convolutions: {self._memory_format} would "
                f"change nothing. Set the memory format to {AS_LOADED!r}."
            )
        changed = resident(network, unet.load_device)
        try:
            convert(changed, torch.channels_last)
            yield
        finally:
            convert(changed, torch.contiguous_format)

    def read(self) -> list[KernelCalls]:
        """The attention calls of the latest sampling."""
        return self.attention.read()
