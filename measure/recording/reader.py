"""One meter of an instrument: opened, read by a sampler, and opened anew where it failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from ...records import EnergyReading
from ..energy.attribution import Interval
from ..meters import DeviceId, Meter, MeterReadError, MeterUnavailableError, open_meter
from ..meters.bounded import ANSWER_S, OPEN_S, NoAnswerError, within
from ..meters.plausible import StillPower
from .memory import Gauges
from .readings import read_energies
from .rhythms import Rhythms
from .sampler import Sampler
from .samples import around

TICK_TIMEOUT_S = 2.0
"""How long to wait for a counter's tick before and after what is measured.

Ticks come every 0.1 s at most; a busy machine may hold the sampler up for several times as long."""

REOPEN_S = 2.0
"""How long a meter that failed is waited for before each later run."""


class MeterReader:
    """A meter and the sampler that reads it; the only one that reads its counter.

    ``meter`` is ``None`` where there is none, ``refusal`` says why; ``name`` is that of the meter
    that was opened first, and ``power_limit_w``, ``default_limit_w`` and ``vram_total_bytes`` are
    what it said then.

    Args:
        spec: the meter's name, or ``auto``, which need not exist.
        gauges: of the memory that is read beside it; ``None`` for a meter that is read alone.
    """

    def __init__(
        self,
        spec: str,
        device_id: DeviceId,
        rhythms: Rhythms,
        check: Callable[[], None],
        gauges: Gauges | None = None,
    ) -> None:
        self.meter: Meter | None = None
        self.refusal = ""
        self.power_limit_w: float | None = None
        self.default_limit_w: float | None = None
        self.vram_total_bytes: int | None = None
        self.vram_source = ""
        self._spec, self.name = spec, ""
        self._device_id, self._rhythms, self._check = device_id, rhythms, check
        self._gauges = gauges
        self._told_nothing = False
        self._still = StillPower()

    def start(self) -> None:
        """Open the meter.

        Raises:
            MeterUnavailableError: a meter asked for by name cannot be opened.
        """
        try:
            self._open(self._spec, OPEN_S)
        except MeterUnavailableError as error:
            if self._spec != "auto":
                raise
            self.refusal = " ".join(str(error).split())
        self.sampler = self._new_sampler()

    def close(self) -> None:
        """Keep what is known of the counter's rhythm, and close the meter."""
        if self.meter is not None:
            self._rhythms.keep(self.meter.name, self.sampler.clock)
            if not self.sampler.is_lost:
                self._close(self.meter)

    def resume(self) -> float:
        """Read on after a pause; returns when the counter last ticked.

        A meter that failed, or has told nothing, is opened anew. Where it cannot be, it stays
        refused for its fault.
        """
        is_gone = self.meter is None and bool(self.name)
        if self.sampler.samples.faults or self._told_nothing or is_gone:
            self._reopen()
        quiet_s = self.sampler.resume(TICK_TIMEOUT_S)
        if self.sampler.samples.faults and self.meter is not None and not self.sampler.is_lost:
            # What went wrong while nobody measured is not the next run's affair.
            self._reopen()
            quiet_s = self.sampler.resume(TICK_TIMEOUT_S)
        return quiet_s

    def wait_for_tick(self) -> bool:
        """As :meth:`.sampler.Sampler.wait_for_tick`, for as long as a tick may take."""
        return self.sampler.wait_for_tick(TICK_TIMEOUT_S)

    def energies(
        self, intervals: Sequence[Interval], reach_s: tuple[float, float] | None = None
    ) -> tuple[list[EnergyReading | None], str]:
        """As :func:`.readings.read_energies`; without a meter, why there is none."""
        if self.meter is None:
            return [None] * len(intervals), self.refusal
        is_measured = self.meter.provenance == "measured"
        still_fault = self._still.fault if is_measured else ""
        samples = self.sampler.samples
        self._told_nothing = not (samples.counter or samples.power)
        return read_energies(self.meter, samples, intervals, reach_s, still_fault)

    def see_power(self, start_s: float, end_s: float, is_work: bool) -> None:
        """Take note of whether power changed in a span of work, or of rest."""
        power = self.sampler.samples.power
        self._still.see([s for s in around(power, start_s, end_s) if s.t_s >= start_s], is_work)

    def _open(self, spec: str, limit_s: float) -> None:
        """Open the meter and ask it what is known of it before it is used.

        Raises:
            MeterUnavailableError: it cannot be opened, or does not answer.
        """

        def ask() -> tuple[Meter, float | None, float | None, int | None, bool]:
            meter, limit_w, default_w = open_meter(spec, self._device_id), None, None
            total_bytes = used_bytes = None
            with suppress(MeterReadError):
                limit_w = meter.power_limit_w()
            with suppress(MeterReadError):
                default_w = meter.default_limit_w()
            with suppress(MeterReadError):
                used_bytes, total_bytes = meter.read_vram_bytes(), meter.vram_total_bytes()
            return meter, limit_w, default_w, total_bytes, used_bytes is not None

        try:
            opened = within(limit_s, ask, self._check)
        except NoAnswerError as error:
            raise MeterUnavailableError(f"{spec}: {error}") from error
        self.meter, limit_w, default_w, total_bytes, self._tells_vram = opened
        if not self.name:
            self.name, self.power_limit_w = self.meter.name, limit_w
            self.default_limit_w, self.vram_total_bytes = default_w, total_bytes

    def _close(self, meter: Meter) -> None:
        with suppress(NoAnswerError):
            within(ANSWER_S, meter.close, self._check)

    def _reopen(self) -> None:
        failed, is_lost = self.meter, self.sampler.is_lost
        try:
            self._open(self.name, REOPEN_S)
        except MeterUnavailableError as error:
            if is_lost:
                self.meter, self.refusal = None, str(error)
                self.sampler = self._new_sampler()
            return
        if failed is not None and not is_lost:
            self._close(failed)
        self.sampler = self._new_sampler()

    def _new_sampler(self) -> Sampler:
        gauges, meter = self._gauges, self.meter
        clock = self._rhythms.of(meter.name) if meter is not None else None
        if gauges is None:
            return Sampler(meter, None, None, None, clock, self._check)
        read_vram: Callable[[], int | None] | None = gauges.read_vram_bytes
        self.vram_source = "driver through torch, whole device, sampled"
        if meter is not None and self._tells_vram:
            read_vram = meter.read_vram_bytes
            self.vram_source = f"{meter.name}, {meter.memory}, sampled"
        else:
            self.vram_total_bytes = gauges.vram_total_bytes
        return Sampler(
            meter,
            read_vram,
            gauges.read_rss_bytes,
            gauges.read_allocator_bytes,
            clock,
            self._check,
        )
