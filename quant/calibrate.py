"""What goes into the layers of a model while it samples, and the scales that follow from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..incoming import IncomingError, read_text
from .formats.fp8 import E4M3_MAX

if TYPE_CHECKING:
    import torch

VERSION = 1
MAX_CALIBRATION_BYTES = 64 * 2**20
OUTLIER_PERCENTILE = 99.9
OUTLIER_RATIO = 20.0
"""A layer whose largest input is this many times its :data:`OUTLIER_PERCENTILE` has outliers."""

BINS = 2**15
"""The magnitudes of bfloat16: a histogram over them tells any percentile to 0.4 %."""

CHUNK = 2**22
"""So many values are counted at once, which bounds the memory that counting takes."""


@dataclass(frozen=True)
class ActivationRange:
    """The inputs of one layer over a calibration.

    ``amax`` is the largest magnitude, ``typical`` that at :data:`OUTLIER_PERCENTILE`, ``limit``
    the one that the calibration chose to be the end of the 8-bit range: what is beyond is clipped.
    """

    amax: float
    typical: float
    limit: float
    call_count: int

    @property
    def input_scale(self) -> float:
        """The scale that brings ``limit`` to the end of E4M3's range; 1 for zeros."""
        return self.limit / E4M3_MAX if self.limit > 0 else 1.0

    @property
    def outlier_ratio(self) -> float | None:
        """How far the largest input stands out; ``None`` where nearly all inputs are zero."""
        return self.amax / self.typical if self.typical > 0 else None


@dataclass(frozen=True)
class Calibration:
    """Ranges by layer, with what they were collected on; ``percentile`` 100 is the largest."""

    model: str
    percentile: float
    sampling_count: int
    layers: Mapping[str, ActivationRange]

    @property
    def input_scales(self) -> dict[str, float]:
        return {name: found.input_scale for name, found in self.layers.items()}

    @property
    def outliers(self) -> list[str]:
        """Layers with outliers, the worst first."""
        ratios = {name: found.outlier_ratio or 0.0 for name, found in self.layers.items()}
        return sorted(
            (name for name, ratio in ratios.items() if ratio >= OUTLIER_RATIO),
            key=lambda name: -ratios[name],
        )

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps({"version": VERSION, **asdict(self)}, indent=1), "utf-8")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: it cannot be read, is no calibration, or one of another version.
        """
        try:
            held: dict[str, Any] = json.loads(read_text(path, MAX_CALIBRATION_BYTES))
            version = held.pop("version")
            layers = {name: ActivationRange(**found) for name, found in held.pop("layers").items()}
            calibration = cls(layers=layers, **held)
        except IncomingError as error:
            raise IncomingError(f"{path} is no calibration of WattBench: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = type(error).__name__
            raise ValueError(f"{path} is no calibration of WattBench ({why})") from error
        if version != VERSION:
            raise ValueError(f"{path} has version {version}, and this WattBench reads {VERSION}")
        return calibration


class ActivationRecorder:
    """While it is entered, hooks count the magnitudes that go into each of ``modules``.

    The counts stay on the device of the inputs: nothing waits for it until they are read.
    """

    def __init__(self, modules: Mapping[str, torch.nn.Module]) -> None:
        self._modules = modules
        self._counts: dict[str, torch.Tensor] = {}
        self._amax: dict[str, torch.Tensor] = {}
        self._calls = dict.fromkeys(modules, 0)
        self._hooks: list[Any] = []

    def __enter__(self) -> ActivationRecorder:
        for name, module in self._modules.items():
            self._hooks.append(module.register_forward_pre_hook(self._hook(name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def ranges(self, percentile: float) -> dict[str, ActivationRange]:
        """The ranges of the layers that were called.

        Args:
            percentile: of the magnitudes that is to be the end of the 8-bit range; 100 clips none.

        Raises:
            ValueError: a layer's inputs held NaN or infinities; the message names it.
        """
        found = {}
        for name, counts in self._counts.items():
            amax = float(self._amax[name])
            if not amax < float("inf"):
                raise ValueError(
                    f"the inputs of {name} hold NaN or infinities: the model overflows in this "
                    "compute dtype, so that no scale can be found. Try bf16."
                )
            levels = {p: min(amax, _level(counts, p)) for p in (percentile, OUTLIER_PERCENTILE)}
            limit = amax if percentile >= 100 else levels[percentile]
            found[name] = ActivationRange(
                amax, levels[OUTLIER_PERCENTILE], limit, self._calls[name]
            )
        return found

    def _hook(self, name: str) -> Any:
        def count(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            import torch

            values = inputs[0].detach().reshape(-1)
            if values.numel() == 0:
                return
            low, high = torch.aminmax(values)
            amax = torch.maximum(-low, high).float()
            self._amax[name] = torch.maximum(self._amax.get(name, amax), amax)
            for part in values.split(CHUNK):
                bits = part.to(torch.bfloat16).abs().view(torch.int16).to(torch.int32)
                counts = torch.bincount(bits, minlength=BINS)
                self._counts[name] = self._counts.get(name, 0) + counts
            self._calls[name] += 1

        return count


def _level(counts: torch.Tensor, percentile: float) -> float:
    """The magnitude that ``percentile`` of all values do not exceed."""
    import torch

    below = counts.cumsum(0)
    place = torch.searchsorted(below, (below[-1] * (percentile / 100)).ceil().to(below.dtype))
    bits = place.clamp(max=BINS - 1).to(torch.int16)
    return float(bits.view(torch.bfloat16))
