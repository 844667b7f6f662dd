"""One device as it is now: power, memory, clocks, and the joules of the job that runs on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...records import CounterSample, Method, PowerSample, Scope
from ..meters import DeviceId, Meter, MeterReadError, MeterUnavailableError, open_meter
from ..meters.base import Provenance
from ..meters.timed_read import timed_read

MAX_HOLD_S = 1.5
"""Power is held from one reading to the next for at most this long; a longer gap is not filled."""

BORDER_ERROR_S = 0.2
"""How much of a job may be missed or added at least: its borders and the counter are each 0.1 s
late, where nothing holds the thread up that looks."""

MEAN_SPAN_S = 0.4
"""A mean power from a counter is taken over at least this long, several ticks of the counter."""

NO_JOB = "no job has run since watching began"
FIRST_READING = "the first reading is still to come"
NO_VRAM = "the meter does not tell memory in use"

PowerSource = Literal["", "sensor", "counter"]


@dataclass(frozen=True)
class LiveTarget:
    """A device to be shown, and what is known of its memory where its meter does not tell."""

    device: DeviceId
    vram_total_bytes: int | None = None
    read_vram_bytes: Callable[[], int | None] | None = None
    vram_note: str = ""


@dataclass(frozen=True)
class LiveReading:
    """A device at one moment. What is not known is ``None``; ``*_reason`` says why.

    ``power_source`` is ``sensor``, or ``counter`` for the mean since the reading before.
    ``energy_j`` is the job's so far, good to ``energy_error_j``; ``energy_method`` is as in
    :class:`.records.EnergyReading`. ``throttle_reasons`` is ``None`` where the meter does not say,
    ``gpu_utilisation`` the share of the last second or less in which a kernel ran.
    """

    device: str
    name: str
    meter: str = ""
    provenance: Provenance | Literal[""] = ""
    scope: Scope | Literal[""] = ""
    meter_note: str = ""
    power_w: float | None = None
    power_source: PowerSource = ""
    power_limit_w: float | None = None
    power_reason: str = ""
    energy_j: float | None = None
    energy_error_j: float | None = None
    energy_method: Method | Literal[""] = ""
    energy_reason: str = ""
    vram_used_bytes: int | None = None
    vram_total_bytes: int | None = None
    vram_reason: str = ""
    temperature_c: float | None = None
    sm_clock_hz: float | None = None
    gpu_utilisation: float | None = None
    throttle_reasons: tuple[str, ...] | None = None


class JobEnergy:
    """Joules since a job began: the counter's difference, else power held between readings."""

    def __init__(self, gap_s: float, reason: str = "") -> None:
        self.reason = reason
        self.border_s = gap_s
        """How much of the job may be missed or added at its borders, as it was looked for them."""
        self.method: Method | Literal[""] = ""
        self.energy_j: float | None = None
        self._start_j: float | None = None
        self._held: PowerSample | None = None
        self._peak_power_w = 0.0

    @property
    def error_j(self) -> float | None:
        """What the borders leave open: the highest power seen, for as long as that is."""
        open_s = max(self.border_s, BORDER_ERROR_S)
        return None if self.energy_j is None else self._peak_power_w * open_s

    def fail(self, reason: str) -> None:
        """The job's energy is lost; the first reason stays."""
        self.reason = self.reason or reason
        self.energy_j = None

    def see_power(self, power_w: float) -> None:
        """Take note of a power, for the error alone."""
        self._peak_power_w = max(self._peak_power_w, power_w)

    def count(self, counter_j: float) -> None:
        """Take a reading of the energy counter."""
        if self.reason:
            return
        self.method = "counter"
        self._start_j = counter_j if self._start_j is None else self._start_j
        self.energy_j = counter_j - self._start_j

    def integrate(self, t_s: float, power_w: float) -> None:
        """Take a reading of power, where there is no counter."""
        if self.reason:
            return
        self.method = "integrated"
        held = self._held or PowerSample(t_s, 0.0)
        held_s = t_s - held.t_s
        if held_s > MAX_HOLD_S:
            self.fail(f"power was not read for {held_s:.1f} s of this job")
            return
        self.energy_j = (self.energy_j or 0.0) + held.power_w * held_s
        self._held = PowerSample(t_s, power_w)
        self.see_power(power_w)


class LiveDevice:
    """A device and its meter, or the reason why it has none."""

    def __init__(self, target: LiveTarget, meter: Meter | None, refusal: str = "") -> None:
        self.meter = meter
        self._target = target
        self._refusal = refusal
        self._fault = ""
        self._job: JobEnergy | None = None
        self._is_running = False
        self._last_count: CounterSample | None = None
        self._mean_power_w: float | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether it has a meter and the last reading succeeded."""
        return self.meter is not None and not self._fault

    def begin_job(self, t_s: float, reason: str = "", gap_s: float = 0.0) -> None:
        """A job has begun within the last ``gap_s``.

        ``reason`` says why its energy cannot be told, where it cannot.
        """
        self._job, self._is_running = JobEnergy(gap_s, reason), True
        self._sample(t_s)

    def follow_job(self, t_s: float) -> None:
        """To be called often while a job runs: power must be read, a counter counts by itself."""
        if self._job is not None and self._job.method == "integrated":
            self._sample(t_s)

    def end_job(self, t_s: float, reason: str = "", gap_s: float = 0.0) -> None:
        """The job has ended within the last ``gap_s``.

        Its energy stays as it is now, or is lost for ``reason``.
        """
        if self._job is not None:
            self._job.border_s += gap_s
        if self._job is not None and reason:
            self._job.fail(reason)
        self._sample(t_s)
        self._is_running = False

    def read(self, t_s: float) -> LiveReading:
        """The device now. Never raises."""
        target = self._target
        identity: dict[str, Any] = {
            "device": f"{target.device.kind}:{target.device.index}",
            "name": target.device.name or target.device.kind,
        }
        if self.meter is None:
            reasons: dict[str, Any] = dict.fromkeys(
                ("power_reason", "energy_reason"), self._refusal
            )
            return LiveReading(**identity, **reasons, **self._read_vram())
        power_w, source = self._sample(t_s)
        if power_w is not None and self._job is not None and self._is_running:
            self._job.see_power(power_w)
        status = self.meter.read_status()
        return LiveReading(
            **identity,
            meter=self.meter.name,
            provenance=self.meter.provenance,
            scope=self.meter.scope,
            meter_note=self.meter.note,
            power_w=power_w,
            power_source=source,
            power_limit_w=status.power_limit_w,
            power_reason="" if power_w is not None else self._fault or FIRST_READING,
            temperature_c=status.temperature_c,
            sm_clock_hz=status.sm_clock_hz,
            gpu_utilisation=status.gpu_utilisation,
            throttle_reasons=status.throttle_reasons,
            **self._read_energy(),
            **self._read_vram(),
        )

    def close(self) -> None:
        """Close the meter."""
        if self.meter is not None:
            self.meter.close()

    def _sample(self, t_s: float) -> tuple[float | None, PowerSource]:
        """Read the meter into the job's energy; power now and where it comes from."""
        meter, job = self.meter, self._job if self._is_running else None
        if meter is None:
            return None, ""
        self._fault = ""
        counter_j = self._ask(meter.read_energy_j)
        power_w = self._ask(meter.read_power_w)
        if job is not None and counter_j is not None:
            job.count(counter_j)
        elif job is not None and self._fault:
            job.fail(self._fault)
        elif job is not None and power_w is not None:
            job.integrate(t_s, power_w)
        if power_w is not None:
            return power_w, "sensor"
        if counter_j is not None:
            return self._mean_power(CounterSample(t_s, counter_j)), "counter"
        return None, ""

    def _ask(self, read: Callable[[], float | None]) -> float | None:
        try:
            value: float | None = timed_read(read).value
            return value
        except MeterReadError as error:
            self._fault = str(error)
            return None

    def _mean_power(self, count: CounterSample) -> float | None:
        """Mean power since at least ``MEAN_SPAN_S`` ago; ``None`` where that has not passed yet."""
        last = self._last_count
        if last is None or count.t_s - last.t_s >= MEAN_SPAN_S:
            self._last_count = count
            if last is not None:
                self._mean_power_w = (count.energy_j - last.energy_j) / (count.t_s - last.t_s)
        return self._mean_power_w

    def _read_energy(self) -> dict[str, Any]:
        job = self._job
        if job is None:
            return {"energy_reason": NO_JOB}
        if job.energy_j is None:
            return {"energy_reason": job.reason or self._fault or FIRST_READING}
        provenance = self.meter.provenance if self.meter is not None else "measured"
        return {
            "energy_j": job.energy_j,
            "energy_error_j": job.error_j,
            "energy_method": job.method if provenance == "measured" else provenance,
        }

    def _read_vram(self) -> dict[str, Any]:
        """Memory in use as the meter sees the device, else as the target's own source does."""
        target = self._target
        used_bytes = None
        reason = target.vram_note or NO_VRAM
        from_meter = None if self.meter is None else self.meter.read_vram_bytes
        for read in (from_meter, target.read_vram_bytes):
            try:
                used_bytes = None if read is None else read()
            except RuntimeError as error:
                # MeterReadError is one; torch raises others where a driver does not answer.
                reason = str(error)
            if used_bytes is not None:
                break
        total_bytes = target.vram_total_bytes
        if self.meter is not None and read is from_meter and used_bytes is not None:
            total_bytes = self.meter.vram_total_bytes() or total_bytes
        return {
            "vram_used_bytes": used_bytes,
            "vram_total_bytes": total_bytes,
            "vram_reason": "" if used_bytes is not None else reason,
        }


def open_devices(targets: Sequence[LiveTarget]) -> list[LiveDevice]:
    """A device for each target, with the meter that ``auto`` means for it.

    One meter is shown once: where WATTBENCH_METER names a meter, it goes to the first target.
    """
    owners: dict[str, str] = {}
    devices = []
    for target in targets:
        device = f"{target.device.kind}:{target.device.index}"
        try:
            meter = open_meter("auto", target.device)
        except MeterUnavailableError as error:
            devices.append(LiveDevice(target, None, " ".join(str(error).split())))
            continue
        owner = owners.setdefault(meter.name, device)
        if owner == device:
            devices.append(LiveDevice(target, meter))
            continue
        meter.close()
        devices.append(LiveDevice(target, None, f"the meter {meter.name} is shown with {owner}"))
    return devices
