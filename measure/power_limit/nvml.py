"""The power limit of NVIDIA boards, through NVML.

``nvmlDeviceSetPowerManagementLimit`` takes milliwatts and needs root or an administrator; without
persistence mode the limit lasts while a program has the library open (NVML API Reference Guide).
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from ...offer import Offer
from ..meters import MeterUnavailableError
from ..meters.nvml_library import nvml_boards, nvml_errors, nvml_library, select_board
from .base import RIGHTS, LimitRange, PowerLimit, PowerLimitError, PowerLimitSource

_FIXED = "many laptop and virtual GPUs have a fixed limit"


class NvmlPowerLimit(PowerLimit):
    """The limit of the board whose index, UUID or start of a UUID is ``selector``."""

    def __init__(self, selector: str) -> None:
        """Raises:
        PowerLimitError: no such board, or it tells no limit.
        """
        with ExitStack() as stack:
            try:
                self._nvml = stack.enter_context(nvml_library())
                board = select_board(nvml_boards(self._nvml), selector)
            except MeterUnavailableError as error:
                raise PowerLimitError(error.reason, error.remedy) from error
            self.name = f"nvml:{board.index}"
            self.label = f"{board.name} ({board.uuid})"
            self.identity = board.uuid
            self._handle = board.handle
            low_mw, high_mw = self._call("nvmlDeviceGetPowerManagementLimitConstraints")
            default_mw = self._call("nvmlDeviceGetPowerManagementDefaultLimit")
            self.allowed = LimitRange(low_mw * 1e-3, high_mw * 1e-3, default_mw * 1e-3)
            self._release = stack.pop_all()

    def read_w(self) -> float:
        return float(self._call("nvmlDeviceGetPowerManagementLimit")) * 1e-3

    def write_w(self, limit_w: float) -> None:
        self._call("nvmlDeviceSetPowerManagementLimit", round(limit_w * 1e3))

    def close(self) -> None:
        self._release.close()

    def _call(self, function: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, function)(self._handle, *arguments)
        except nvml_errors(self._nvml) as error:
            remedies = {
                self._nvml.NVML_ERROR_NO_PERMISSION: RIGHTS,
                self._nvml.NVML_ERROR_NOT_SUPPORTED: _FIXED,
            }
            reason = f"{function} of {self.name} answered: {error}"
            raise PowerLimitError(
                reason, remedies.get(getattr(error, "value", None), "")
            ) from error


class NvmlPowerLimits(PowerLimitSource):
    """``nvml:0`` by index, ``nvml:GPU-…`` by UUID or its start."""

    key = "nvml"

    def probe(self) -> list[Offer]:
        try:
            with nvml_library() as nvml:
                boards = nvml_boards(nvml)
        except MeterUnavailableError as error:
            return [Offer(self.key, "NVIDIA GPU", False, error.reason, error.remedy)]
        return [self._offer(str(board.index), board.label) for board in boards]

    def open(self, selector: str) -> PowerLimit:
        return NvmlPowerLimit(selector)
