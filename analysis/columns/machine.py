"""Columns on the machine while a run went on: memory, board, kernels; and on the run's picture."""

from __future__ import annotations

from ...records import MemoryReading, Operation, PictureCheck
from ...tables.columns import Column, ColumnType
from .cost import METRIC
from .row import RunRow


def _vram(
    name: str, kind: ColumnType, unit: str, meaning: str, of: str, role: str = ""
) -> Column[RunRow]:
    def value(row: RunRow) -> object:
        reading: MemoryReading | None = row.run.vram
        return getattr(reading, of) if reading else None

    return Column(name, kind, unit, meaning, value, role)


def _kernels(operation: Operation, which: str, meaning: str) -> Column[RunRow]:
    return Column(
        f"{operation}_{which}", "text", "", meaning, lambda row: row.kernels(operation, which)
    )


def _picture(name: str, kind: ColumnType, unit: str, meaning: str) -> Column[RunRow]:
    def value(row: RunRow) -> object:
        check: PictureCheck | None = row.run.picture
        return getattr(check, name) if check else None

    return Column(f"picture_{name}", kind, unit, meaning, value)


def _model_bytes(row: RunRow) -> int | None:
    """Samplings of one model and size of weights are of the same weights."""
    models = {(s.model, s.architecture, s.model_bytes) for s in row.run.samplings}
    known = [count for *_, count in models if count is not None]
    return sum(known) if known and len(known) == len(models) else None


def _host_wait_s(row: RunRow) -> float | None:
    share, denoise_s = row.busy_share, row.time_s("denoise")
    return None if share is None or denoise_s is None else (1 - share) * denoise_s


IN_USE = (
    "in use on the whole device, by every process, sampled every 0.2 s and at the end: a shorter "
    "peak in between is missed"
)

MEMORY: tuple[Column[RunRow], ...] = (
    _vram("peak_vram_bytes", "integer", "B", IN_USE, "peak_bytes", METRIC),
    _vram("mean_vram_bytes", "number", "B", IN_USE, "mean_bytes"),
    _vram("vram_source", "text", "", "where that was read", "source"),
    Column(
        "allocator_peak_vram_bytes",
        "integer",
        "B",
        "the most that torch's allocator held for this process, no peak missed; other allocators "
        "are not in it",
        lambda row: row.run.allocator_peak_bytes,
    ),
    Column(
        "allocator_mean_vram_bytes",
        "number",
        "B",
        "its mean, sampled every 0.2 s and at the end",
        lambda row: row.run.allocator_mean_bytes,
    ),
    Column(
        "allocator_source",
        "text",
        "",
        "which allocator that is",
        lambda row: row.run.allocator_source,
    ),
    Column("vram_note", "text", "", "why VRAM is blank", lambda row: row.run.vram_note),
    Column(
        "vram_total_bytes",
        "integer",
        "B",
        "what the device has, from where `vram_source` comes from; empty where nothing tells",
        lambda row: row.run.board.vram_total_bytes,
    ),
    Column(
        "model_bytes",
        "integer",
        "B",
        "the denoisers' weights as they are stored, each model once",
        _model_bytes,
    ),
    Column(
        "peak_rss_bytes",
        "integer",
        "B",
        "resident memory of ComfyUI's process, sampled every 0.5 s",
        lambda row: row.run.rss.peak_bytes if row.run.rss else None,
    ),
)

BOARD: tuple[Column[RunRow], ...] = (
    Column(
        "temperature_max_c",
        "number",
        "°C",
        "of the board during the run",
        lambda row: row.run.board.temperature_max_c,
    ),
    Column(
        "sm_clock_mean_hz",
        "number",
        "Hz",
        "of the board during the run",
        lambda row: row.run.board.sm_clock_mean_hz,
    ),
    Column(
        "gpu_utilisation",
        "number",
        "",
        "mean share of the run in which a kernel ran, as the meter's library tells it once a "
        "second (1: always); empty for shorter runs and where it does not tell",
        lambda row: row.run.board.gpu_utilisation,
    ),
    Column(
        "gpu_busy_share",
        "number",
        "",
        "mean share of the denoising in which the device had work (1: always), by some 20 looks a "
        "second and more at random moments whether all that was queued has run; the rest it "
        "waited for the host. Its error is that of so many looks: ± 0.07 at 95 % of 200",
        lambda row: row.busy_share,
    ),
    Column(
        "host_wait_s",
        "number",
        "s",
        "for how long the device waited for the host meanwhile: `denoise_time_s` less the share "
        "of it in which the device had work",
        lambda row: _host_wait_s(row),
    ),
    Column("busy_note", "text", "", "why these two are blank", lambda row: row.busy_note),
    Column(
        "dynamic_vram",
        "text",
        "",
        "whether weights faulted in while the model ran (ComfyUI's dynamic VRAM): `on` or `off`, "
        "as it was in force and not as it was asked for; empty where no sampling was seen",
        lambda row: row.dynamic_vram,
    ),
    Column(
        "pcie_link",
        "text",
        "",
        "the board's link under load, `gen 4 x16`: the fastest seen; empty where its meter does "
        "not tell",
        lambda row: row.run.board.pcie_link,
    ),
    Column(
        "power_default_limit_w",
        "number",
        "W",
        "the limit that the board has by default; empty where its meter does not tell",
        lambda row: row.run.board.power_default_limit_w,
    ),
    Column(
        "flags",
        "text",
        "",
        "what to know before comparing the run: throttling and its reasons, other processes on the "
        "board, an active display, a clock or power limit that changed, a warm-up that did not "
        "become steady, a process that stood still, compilation within the run, and what was "
        "logged as a warning meanwhile",
        lambda row: "; ".join(row.run.board.flags),
    ),
)

COUNTED = (
    "kernels of the denoiser's attention with their calls, as counted while the run went on, and "
    "the VAE's with `vae` before the name; empty where nothing counted them; `none: 0` stands for "
    "calls that nobody could count: the model never asked for the choice, or a ControlNet or "
    "another node computed attention by itself"
)
COUNTED_LINEAR = (
    "the same of matrix products in a model with quantized weights, by format: native, dequantized "
    "or emulated, with what arithmetic; layers that stay count under their dtype; *not seen*: in a "
    "graph that torch.compile traced for another layer; those of a quantized text encoder with "
    "`text` before the name"
)

KERNELS: tuple[Column[RunRow], ...] = (
    _kernels("attention", "requested", COUNTED),
    _kernels("attention", "executed", COUNTED),
    _kernels(
        "attention", "fallbacks", "calls that another kernel than the requested one ran, and why"
    ),
    _kernels("linear", "requested", COUNTED_LINEAR),
    _kernels("linear", "executed", COUNTED_LINEAR),
    _kernels("linear", "fallbacks", COUNTED_LINEAR),
)

DISTANCE = (
    "distance from the reference's picture, the worst of a batch; empty where not measured, PSNR "
    "also for equal pictures"
)

PICTURE: tuple[Column[RunRow], ...] = (
    _picture(
        "reference", "text", "", "the run that the picture was compared with by Picture Guard"
    ),
    _picture(
        "fault",
        "text",
        "",
        "what is broken in the picture: its cost is no saving. Benchmark sees by itself that one "
        "is black or flat (and lets a run with NaN fail), Picture Guard the rest",
    ),
    Column(
        "picture_file",
        "text",
        "",
        "the run's picture, of several the first, in the folder of results of `wattbench run`, "
        "`matrix` and `tune`; empty elsewhere, because the host saves it after the row was "
        "written: the picture itself names the run then, see [pictures](#pictures)",
        lambda row: row.run.picture_file,
    ),
    _picture(
        "sha256",
        "text",
        "",
        "of the pictures' 8-bit values, row by row (what a PNG holds, not its file), all pictures "
        "of the run one after another",
    ),
    _picture("psnr_db", "number", "dB", DISTANCE),
    _picture("ssim", "number", "", DISTANCE),
    _picture("lpips", "number", "", DISTANCE),
)
