"""Runs leave the graph: as CSV files and as a table in a node's body."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comfy_api.latest import io, ui

from ..hosts.comfyui.host import HOST
from ..hosts.comfyui.thumbnails import thumbnail_of
from ..hosts.comfyui.workspace import folder_in_output
from ..measure.protocol.session import open_journal
from ..records import Run
from ..report.translation import LANGUAGES
from ..tables.files import write_text
from .types import CATEGORY, Runs, refused


def _runs_and_folder() -> list[io.Input]:
    """The inputs of a node that writes runs into a folder."""
    return [
        Runs.Input("runs", tooltip="From Benchmark or Collect Runs."),
        io.String.Input(
            "folder",
            default="wattbench",
            tooltip="A folder within ComfyUI's output folder. It is made if need be.",
        ),
    ]


class WattBenchExportCSV(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchExportCSV",
            display_name="Export CSV (WattBench)",
            category=CATEGORY,
            description=(
                "Writes runs.csv (a row per run), summary.csv (a row per condition) and report.md "
                "into a folder of ComfyUI's output. Runs are added to those already there, so that "
                "a queue of prompts becomes one table; a run is never written twice."
            ),
            search_aliases=["save csv", "save runs", "export measurements"],
            is_output_node=True,
            inputs=_runs_and_folder(),
            outputs=[],
        )

    @classmethod
    def validate_inputs(cls, folder: str = "") -> bool | str:
        return refused(lambda: folder_in_output(folder))

    @classmethod
    def execute(cls, runs: tuple[Run, ...], folder: str) -> io.NodeOutput:
        from ..report import append_runs

        target = folder_in_output(folder)
        try:
            paths = append_runs(runs, target)
        except OSError as error:
            raise OSError(
                f"cannot write the tables into {target}: {error}. Nothing is lost: the runs are in "
                f"{open_journal(HOST).path}. Make the folder writable, or export to another one; "
                "`wattbench summary` reads the journal too."
            ) from error
        names = ", ".join(path.name for path in paths)
        place = "/".join(("output", *target.relative_to(folder_in_output("")).parts))
        text = f"{len(runs)} runs went into {place}: {names}"
        return io.NodeOutput(ui={"files": [listed(path) for path in paths], "text": [text]})


class WattBenchExportReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchExportReport",
            display_name="Export Report (WattBench)",
            category=CATEGORY,
            description=(
                "Writes report.html: one page for any browser, with the verdict, charts, what ran, "
                "how it was measured and the tables. Host, user, paths and serial numbers are not "
                "in it. Needs Jinja2 and matplotlib."
            ),
            search_aliases=["html report", "share results", "charts"],
            is_output_node=True,
            inputs=[
                *_runs_and_folder(),
                io.Combo.Input("language", options=list(LANGUAGES), tooltip="Of the page."),
            ],
            outputs=[],
        )

    @classmethod
    def validate_inputs(cls, folder: str = "") -> bool | str:
        return refused(lambda: folder_in_output(folder))

    @classmethod
    def execute(cls, runs: tuple[Run, ...], folder: str, language: str = "en") -> io.NodeOutput:
        from ..analysis.analysis import Analysis
        from ..report.html import PageUnavailableError, as_html

        target = folder_in_output(folder)
        try:
            page = as_html(Analysis.of(runs), [target], language)
        except PageUnavailableError as error:
            # What was measured stands: a page is no reason to fail a prompt.
            HOST.show(str(error))
            return io.NodeOutput(ui={"text": [str(error)]})
        target.mkdir(parents=True, exist_ok=True)
        path = write_text(page, target / "report.html")
        place = path.relative_to(HOST.output_folder().resolve()).as_posix()
        HOST.show(place)
        text = f"{len(runs)} runs went into output/{place}"
        return io.NodeOutput(ui={"files": [listed(path)], "text": [text]})


class WattBenchShowSummary(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WattBenchShowSummary",
            display_name="Show Summary (WattBench)",
            category=CATEGORY,
            description=(
                "Shows a set of runs in the node: what an image costs and where that goes, several "
                "conditions against each other, and all numbers in tables and charts."
            ),
            search_aliases=[
                "benchmark",
                "energy",
                "power",
                "speed",
                "vram",
                "results",
                "table",
                "statistics",
                "chart",
            ],
            is_output_node=True,
            inputs=[Runs.Input("runs", tooltip="From Benchmark or Collect Runs.")],
            outputs=[],
        )

    @classmethod
    def execute(cls, runs: tuple[Run, ...]) -> io.NodeOutput:
        return io.NodeOutput(ui={"wattbench_summary": [shown(runs)]})


def shown(runs: Sequence[Run]) -> dict[str, Any]:
    """What Show Summary shows of runs."""
    from ..report.shown import summary_shown

    return summary_shown(runs, _picture)


def beside(own: str, other: str, name: str) -> dict[str, Any]:
    """What Show Summary shows of another file's table; see :func:`..report.beside.shown_beside`."""
    from ..report.beside import shown_beside

    return shown_beside(own, other, name)


def _picture(run: Run) -> dict[str, str] | None:
    return thumbnail_of(run.picture.sha256) if run.picture else None


def listed(path: Path) -> dict[str, Any]:
    """A file in ComfyUI's output folder, as its page and `comfy run` list outputs."""
    folder = path.parent.relative_to(HOST.output_folder().resolve())
    return ui.SavedResult(
        path.name, folder.as_posix() if folder.parts else "", io.FolderType.output
    )


NODES: list[type[io.ComfyNode]] = [
    WattBenchExportCSV,
    WattBenchExportReport,
    WattBenchShowSummary,
]
