"""What pictures are like: metrics of a Benchmark's pictures, and the prompts that it makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..hosts.comfyui.host import HOST
from ..hosts.comfyui.incoming import file_of
from ..hosts.comfyui.metric_models import NONE, choices, networks
from ..hosts.comfyui.pictures import Pictures, arrays
from ..measure.protocol.session import open_journal
from ..quality.measured import qualities
from ..quality.prompts import MAX_FILE_BYTES, SETS, PromptSet, read_set
from ..records import Run
from .guard import by_seed
from .types import CATEGORY, Prompts, Runs, refused

FROM_FILE = "file"


class WattBenchPictureMetrics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        folder = "A folder of models/wattbench_metrics, see the help page; nothing is fetched."
        return io.Schema(
            node_id="WattBenchPictureMetrics",
            display_name="Picture Metrics (WattBench)",
            category=CATEGORY,
            description=(
                "Measures the pictures of a Benchmark: sharpness, colourfulness and entropy, "
                "against reference pictures PSNR, SSIM, LPIPS and DISTS, and with a CLIP model how "
                "well they show their prompt. The values go into the runs, for tables that hold "
                "energy against quality."
            ),
            search_aliases=["clip score", "psnr", "ssim", "lpips", "dists", "sharpness"],
            inputs=[
                io.Image.Input(
                    "images", tooltip="Pictures of the runs, in the order of Benchmark's output."
                ),
                Runs.Input("runs", tooltip="The runs that made them."),
                io.Image.Input(
                    "reference_images",
                    optional=True,
                    tooltip="Pictures of the reference, for PSNR, SSIM, LPIPS and DISTS.",
                ),
                Runs.Input(
                    "reference_runs",
                    optional=True,
                    tooltip="The reference's runs: pictures of equal prompt and seed are compared.",
                ),
                Prompts.Input(
                    "prompts",
                    optional=True,
                    tooltip="The set that Benchmark was given, for CLIP score.",
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="The prompt, for CLIP score of runs without a set of prompts.",
                ),
                io.Combo.Input(
                    "clip_model", options=choices(), default=NONE, optional=True, tooltip=folder
                ),
                io.Combo.Input(
                    "lpips_model", options=choices(), default=NONE, optional=True, tooltip=folder
                ),
                io.Combo.Input(
                    "dists_model", options=choices(), default=NONE, optional=True, tooltip=folder
                ),
            ],
            outputs=[
                Runs.Output(display_name="runs", tooltip="The same runs with their qualities."),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Any,
        runs: tuple[Run, ...],
        reference_images: Any = None,
        reference_runs: tuple[Run, ...] = (),
        prompts: PromptSet | None = None,
        prompt: str = "",
        clip_model: str = NONE,
        lpips_model: str = NONE,
        dists_model: str = NONE,
    ) -> io.NodeOutput:
        if (reference_images is None) != (not reference_runs):
            raise ValueError(
                "connect reference_images and reference_runs of one Benchmark, or none"
            )
        loaded = networks({"clip_score": clip_model, "lpips": lpips_model, "dists": dists_model})
        pictures = by_seed(runs, arrays(images), "runs")
        references: dict[Any, tuple[Run, Pictures]] | None = None
        if reference_images is not None:
            references = by_seed(reference_runs, arrays(reference_images), "reference_runs")
        texts = texts_of(runs, prompts, prompt)
        measured = {}
        for key, (run, made) in pictures.items():
            of_key = references.get(key) if references is not None else None
            found = qualities(
                made, loaded, texts.get(run.prompt, ""), None if of_key is None else of_key[1]
            )
            measured[run.run_id] = replace(run, quality=found)
        journal = open_journal(HOST)
        for run in measured.values():
            journal.append_quality(run)
        return io.NodeOutput(tuple(measured.get(run.run_id, run) for run in runs))


def texts_of(runs: tuple[Run, ...], prompts: PromptSet | None, prompt: str) -> dict[str, str]:
    """The text of each run's prompt by its hash.

    Raises:
        ValueError: runs are of other prompts than the set's.
    """
    known = {run.prompt for run in runs}
    if prompts is None:
        return dict.fromkeys(known, prompt) if len(known) == 1 else {}
    texts = {prompts.prompt_id(i): text for i, text in enumerate(prompts.texts)}
    if not known <= texts.keys():
        raise ValueError(
            "the runs were made of other prompts than the connected set's: connect the set that "
            "Benchmark was given"
        )
    return texts


class WattBenchPromptSet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchPromptSet",
            display_name="Prompt Set (WattBench)",
            category=CATEGORY,
            description=(
                "A set of prompts: one of them by its index, or many for a Benchmark that makes "
                "all of them with each seed."
            ),
            search_aliases=["prompts", "coco captions", "prompt list", "text from file"],
            inputs=[
                io.Combo.Input(
                    "prompt_set",
                    options=[*SETS, FROM_FILE],
                    default=next(iter(SETS)),
                    tooltip=(
                        "wattbench_13: portraits, hands, lettering, counting, texture and scenes. "
                        "edge_nodes: the prompt that the study of edge nodes prints. file: the "
                        "file below."
                    ),
                ),
                io.String.Input(
                    "file",
                    default="",
                    tooltip=(
                        "A file in ComfyUI's input or output folder: a prompt a line, CSV with a "
                        "column prompt, JSON lines, or COCO's captions (.json)."
                    ),
                ),
                io.String.Input(
                    "negative",
                    default="",
                    multiline=True,
                    tooltip="The negative prompt of every prompt of the set.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=10**9,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Which prompt comes first, from 0; after the last comes the first.",
                ),
                io.Int.Input(
                    "count",
                    default=0,
                    min=0,
                    max=10**6,
                    tooltip="How many prompts the set's output holds, from index on; 0: all.",
                ),
            ],
            outputs=[
                Prompts.Output(
                    display_name="prompts", tooltip="For Benchmark and Picture Metrics."
                ),
                io.String.Output(display_name="prompt", tooltip="The prompt at index."),
                io.Int.Output(display_name="size", tooltip="How many prompts the whole set has."),
            ],
        )

    @classmethod
    def validate_inputs(cls, prompt_set: str = "", file: str = "") -> bool | str:
        if prompt_set != FROM_FILE:
            return True
        return refused(lambda: file_of(file, MAX_FILE_BYTES))

    @classmethod
    def fingerprint_inputs(cls, prompt_set: str, file: str, **inputs: Any) -> str:
        """Another one when the file has changed."""
        if prompt_set != FROM_FILE:
            return ""
        status = file_of(file, MAX_FILE_BYTES).stat()
        return f"{status.st_mtime_ns} {status.st_size}"

    @classmethod
    def execute(
        cls, prompt_set: str, file: str, negative: str, index: int, count: int
    ) -> io.NodeOutput:
        if prompt_set == FROM_FILE:
            whole = read_set(file_of(file, MAX_FILE_BYTES), negative)
        else:
            whole = replace(SETS[prompt_set], negative=negative)
        part = whole.part(index, count)
        return io.NodeOutput(part, part.texts[0], len(whole.texts))


NODES: list[type[io.ComfyNode]] = [WattBenchPictureMetrics, WattBenchPromptSet]
