"""Columns on which run it is, what it was asked to be, and where it ran."""

from __future__ import annotations

from operator import attrgetter

from ...records import SCHEMA_VERSION
from ...tables.columns import Column, ColumnType
from .row import RunRow

CONDITION, ENVIRONMENT = "condition", "environment"
"""Roles. Runs are pooled only where the columns of both are equal."""


def _condition(name: str, kind: ColumnType, unit: str, meaning: str) -> Column[RunRow]:
    return Column(name, kind, unit, meaning, attrgetter(f"run.condition.{name}"), CONDITION)


def _environment(name: str, kind: ColumnType, unit: str, meaning: str) -> Column[RunRow]:
    return Column(name, kind, unit, meaning, attrgetter(f"run.environment.{name}"), ENVIRONMENT)


def _run(name: str, kind: ColumnType, unit: str, meaning: str) -> Column[RunRow]:
    return Column(name, kind, unit, meaning, attrgetter(f"run.{name}"))


IDENTITY: tuple[Column[RunRow], ...] = (
    Column(
        "schema_version",
        "integer",
        "",
        "raised when a column changes its meaning",
        lambda row: SCHEMA_VERSION,
    ),
    _run("run_id", "text", "", "unique; an export never writes a run twice"),
    _run("started_at", "text", "", "ISO 8601, UTC"),
)

CONDITIONS: tuple[Column[RunRow], ...] = (
    Column(
        "condition",
        "text",
        "",
        "a short name made of the columns that follow",
        lambda row: row.run.condition.name,
        CONDITION,
    ),
    _condition(
        "architecture",
        "text",
        "",
        "the diffusion model's family: `sdxl`, `z_image`, …; `…_other_size` where layers or widths "
        "are not the published ones",
    ),
    _condition("model", "text", "", "the diffusion model's file or synthetic name"),
    _condition("weights", "text", "", "`file`, or `synthetic`: random numbers"),
    _condition(
        "attention",
        "text",
        "",
        "what Attention Backend was asked for, with `max_error` and `timed` where they are not the "
        "defaults, or else what ComfyUI was set to use; before it the overrides of other nodes; "
        "not what ran",
    ),
    _condition(
        "weight_format",
        "text",
        "",
        "the format that was asked for (`fp8`, `nf4`), or that of most of the weights' bytes: "
        "`fp16`, `bf16`, `float8_e4m3fn`, …",
    ),
    _condition("width_px", "integer", "px", "as asked for"),
    _condition("height_px", "integer", "px", "as asked for"),
    _condition("batch_size", "integer", "", "as asked for"),
    _condition("steps", "integer", "", "as asked for"),
    _condition("cfg", "number", "", "as asked for"),
    _condition("sampler", "text", "", "as asked for"),
    _condition("scheduler", "text", "", "as asked for; empty where a custom sampler does not tell"),
    _condition(
        "optimizations",
        "text",
        "",
        "what else changes the model's cost: `channels_last`, `compile` with its options, the "
        "VAE's with `vae` before the name; a quantized text encoder's format with `text` before "
        "it; patches of other nodes (`easycache`, `patched weights` for a LoRA); ComfyUI's launch "
        "options (`--lowvram`, `--fast fp16_accumulation`)",
    ),
)

REPEATS: tuple[Column[RunRow], ...] = (
    Column(
        "nfe",
        "integer",
        "",
        "function evaluations of the sampler; with CFG, one covers both prompts",
        lambda row: sum(p.nfe for p in row.run.phases if p.nfe is not None) or None,
    ),
    _run("seed", "unsigned", "", "of the noise"),
    _run(
        "visit",
        "integer",
        "",
        "the server process: its number within a batch of `wattbench run`, from 1; in a ComfyUI "
        "that you started, the second at which it loaded the pack (Unix time). Repeats within one "
        "process are not independent: see [method.md](method.md#statistics)",
    ),
    _run("repeat", "integer", "", "from 0, warm-ups and repeats apart"),
    _run("is_warmup", "flag", "", "warm-ups are recorded and do not count"),
    _run("error", "text", "", "why the run failed; empty if it did not"),
)

ENVIRONMENTS: tuple[Column[RunRow], ...] = (
    _environment("gpu_name", "text", "", "the board, as its driver names it"),
    _environment("gpu_uuid", "text", "", "the board's own number"),
    _environment("compute_capability", "text", "", "the board's, as `8.6`"),
    _environment("power_limit_w", "number", "W", "the power limit in force"),
    _environment("driver", "text", "", "the board's driver"),
    _environment("runtime", "text", "", "what torch computes with, as `cuda 13.0`"),
    _environment("torch", "text", "", "version"),
    _environment("host", "text", "", "the program that WattBench ran in"),
    _environment("host_version", "text", "", "its version"),
    Column(
        "comfyui",
        "text",
        "",
        "`host_version` where the host is ComfyUI",
        lambda row: (
            row.run.environment.host_version if row.run.environment.host == "ComfyUI" else ""
        ),
        ENVIRONMENT,
    ),
    _environment("pack", "text", "", "WattBench's version"),
    _environment("git_commit", "text", "", "WattBench's commit, where it runs from a clone"),
    _environment("python", "text", "", "version"),
    _environment("os", "text", "", "the operating system"),
    _environment("cpu_name", "text", "", "the processor"),
)
