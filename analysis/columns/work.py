"""Columns on which run it is, what it was asked to be, and where it ran."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ...records import SCHEMA_VERSION, Condition
from ...tables.columns import Column, ColumnType
from ...tables.files import writable
from .row import RunRow

if TYPE_CHECKING:
    import pandas as pd

CONDITION, ENVIRONMENT = "condition", "environment"
"""Roles. Runs are pooled only where the columns of both are equal."""


def _condition(name: str, kind: ColumnType, unit: str, meaning: str) -> Column[RunRow]:
    value = attrgetter(f"run.condition.{name}")
    return Column(name, kind, unit, meaning, lambda row: _writable(value(row)), CONDITION)


def _environment(name: str, kind: ColumnType, unit: str, meaning: str) -> Column[RunRow]:
    value = attrgetter(f"run.environment.{name}")
    return Column(name, kind, unit, meaning, lambda row: _writable(value(row)), ENVIRONMENT)


def _writable(value: object) -> object:
    """Text as a file will have it, so that it is equal to what is read."""
    return writable(value) if isinstance(value, str) else value


def _run(name: str, kind: ColumnType, unit: str, meaning: str) -> Column[RunRow]:
    return Column(name, kind, unit, meaning, attrgetter(f"run.{name}"))


def _token_count(row: RunRow) -> int | None:
    counts = [calls.token_count for s in row.run.samplings for calls in s.forwards]
    return max((count for count in counts if count is not None), default=None)


def condition_name(row: Mapping[Any, Any] | pd.Series) -> str:
    """The short name of a table row's condition, for people; several conditions may share it."""
    import pandas as pd

    known: dict[str, Any] = {
        name: None if pd.isna(row[name]) else row[name] for name in Condition.__dataclass_fields__
    }
    return Condition(**known).name


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
        "a name made of the columns that follow: equal names are equal conditions",
        lambda row: _writable(row.run.condition.label),
        CONDITION,
    ),
    Column(
        "condition_id",
        "text",
        "",
        "the same for programs, ten hexadecimal digits",
        lambda row: row.run.condition.condition_id,
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
    _condition(
        "weights",
        "text",
        "",
        "`synthetic`: random numbers; else `file`, with a hash of the file (of its size and of "
        "1 MiB taken evenly from it) where it is known: another file of that name is another "
        "condition",
    ),
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
    _condition("width_px", "integer", "px", "the picture's"),
    _condition("height_px", "integer", "px", "the picture's"),
    _condition("batch_size", "integer", "", "pictures that the run made; of videos, how many"),
    _condition("frames", "integer", "", "of each; 1 for a picture"),
    _condition(
        "steps",
        "integer",
        "",
        "as asked for, the sum over all samplings; where another node than core's KSampler hides "
        "what was asked, its schedule's",
    ),
    _condition(
        "cfg",
        "number",
        "",
        "as asked for; empty where samplings differ or the guider has none: see `guidance`",
    ),
    _condition(
        "guidance",
        "text",
        "",
        "the guiders with their scales, as `PerpNeg cfg 7 neg_scale 1`; empty for plain CFG",
    ),
    _condition("sampler", "text", "", "as asked for; `euler + ddim` where samplings differ"),
    _condition("scheduler", "text", "", "as asked for; empty where a custom sampler does not tell"),
    _condition("vae", "text", "", "class and dtype of the measured VAE, and its file's hash"),
    _condition(
        "text_encoder",
        "text",
        "",
        "class and dtype of the measured text encoder, and its files' hashes",
    ),
    _condition(
        "prompts", "text", "", "the prompts: `prompt_id`, or a study's name of its set of prompts"
    ),
    _condition(
        "work",
        "text",
        "",
        "what each sampling was counted to do: its evaluations and the forwards that these took, "
        "`4 evaluations of 2x4x8x8, 77 tokens`: rows × channels × latent size, text tokens of a "
        "row, ControlNets. Without the numbers where they depend on the picture (`dpm_adaptive`, "
        "step caches); empty where nothing was counted",
    ),
    _condition(
        "optimizations",
        "text",
        "",
        "what else changes the model's cost: `channels_last`, `compile` with its options, the "
        "VAE's with `vae` before the name; a quantized text encoder's format with `text` before "
        "it; patches of other nodes (`easycache`, `patched weights` for a LoRA) and what such "
        "nodes, samplers with options and noise levels were set to (`FreeU_V2 b1 1.3 b2 1.4`, "
        "`LoraLoader lora_name a.safetensors strength_model 0.8`, `denoise 0.3`); functions of the "
        "model, its layers, the guider, the sampler, the VAE and torch that another pack has "
        "replaced (`sample_euler by ComfyUI-Faster`); ComfyUI's launch "
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
    Column(
        "sampling_count",
        "integer",
        "",
        "samplings in the run: 2 for a base with a refiner",
        lambda row: len(row.run.samplings) or None,
    ),
    Column(
        "steps_made",
        "integer",
        "",
        "steps that the samplers reported as done, of all samplings; `steps` is what was asked",
        lambda row: row.steps_made,
    ),
    Column(
        "token_count",
        "integer",
        "",
        "text tokens of a row of an evaluation, padding included; the most of any",
        _token_count,
    ),
    _run("seed", "unsigned", "", "of the noise"),
    _run(
        "visit",
        "integer",
        "",
        "the server process, for the eye: its number within a batch of `wattbench run`, from 1; in "
        "a ComfyUI that you started, the second at which it loaded the pack (Unix time)",
    ),
    _run(
        "process_id",
        "text",
        "",
        "the server process: a hash of the machine's boot, process number and start time. Repeats "
        "within one process are not independent: see [method.md](method.md#statistics)",
    ),
    _run(
        "study",
        "text",
        "",
        "one carrying out of a plan (`wattbench matrix`) or of a search (`wattbench tune`); its "
        "`visit` is the block. Empty outside of one",
    ),
    _run("cell", "text", "", "what the study varied in this run, `sdxl: attention=sdpa`"),
    Column(
        "prompt_id",
        "text",
        "",
        "a hash of the prompts' texts; empty where they are not known",
        lambda row: row.run.prompt,
    ),
    _run("repeat", "integer", "", "from 0, warm-ups and repeats apart"),
    _run("is_warmup", "flag", "", "warm-ups are recorded and do not count"),
    _run("error", "text", "", "why the run failed; empty if it did not"),
    _run(
        "not_counted",
        "text",
        "",
        "why the run's numbers are not those of its work (its process stood still, a model was "
        "compiled meanwhile), so that no mean is made of it; empty where it counts",
    ),
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
