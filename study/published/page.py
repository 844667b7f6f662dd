"""What a page beside published figures is: tables, sentences, and how alike the runs are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...analysis.analysis import Analysis
from ...law.flop import ALIASES
from ...tables.figure import PlotsUnavailableError, new_figure
from ...tables.files import write_text
from ...tables.markdown import of_table
from ...tables.table import BLANK, Table

Row = Mapping[Any, Any]
WIDTH_IN = 7.0
PUBLISHED_COLOUR, OWN_COLOUR = "#9a9a9a", "#3b82f6"


@dataclass(frozen=True)
class Figure:
    """A drawing beside a table: its file, what it shows, and what draws it on empty axes."""

    file: str
    caption: str
    draw: Callable[[Any], None]
    height_in: float = 4.5


@dataclass(frozen=True)
class Section:
    """A table with its title, sentences below it, and figures where there is something to draw."""

    title: str
    table: Table
    sentences: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class StudyPage:
    """``make`` returns the sections for runs; ``source`` says what they stand beside."""

    name: str
    title: str
    source: str
    make: Callable[[Analysis], Sequence[Section]]

    def markdown(self, analysis: Analysis) -> str:
        """The whole page, without its figures."""
        return self._text(self.make(analysis), {})

    def write(self, analysis: Analysis, path: Path) -> list[Path]:
        """Write the page to ``path`` and its figures beside it; answers the files.

        Without matplotlib there are no figures, and the page says so.

        Raises:
            OSError: the folder cannot be written.
        """
        sections = self.make(analysis)
        lines: dict[str, str] = {}
        files = []
        for figure in (figure for section in sections for figure in section.figures):
            try:
                drawing = new_figure(WIDTH_IN, figure.height_in)
            except PlotsUnavailableError as error:
                lines[figure.file] = f"{figure.caption}: not drawn, {error}."
                continue
            figure.draw(drawing.add_subplot())
            files.append(path.with_name(figure.file))
            drawing.savefig(files[-1], metadata={"Date": None})
            lines[figure.file] = f"![{figure.caption}]({figure.file})"
        write_text(self._text(sections, lines), path)
        return [path, *files]

    def _text(self, sections: Sequence[Section], figures: Mapping[str, str]) -> str:
        """``figures`` has what stands for a figure, by its file."""
        lines = [f"# {self.title}", "", self.source, ""]
        for section in sections:
            lines += [f"## {section.title}", "", *of_table(section.table), ""]
            for figure in section.figures:
                lines += [figures[figure.file], ""] if figure.file in figures else []
            lines += [f"- {sentence}" for sentence in section.sentences]
            lines += [""] if section.sentences else []
        return "\n".join(lines).rstrip() + "\n"


def measured_rows(analysis: Analysis) -> list[dict[Any, Any]]:
    """The rows of the summary of which a run counts."""
    return [row for row in analysis.summary.to_dict("records") if row["n"]]


def number(value: Any, form: str = ".3f") -> str:
    """A number of a table, or a blank."""
    known = isinstance(value, (int, float)) and math.isfinite(value)
    return format(value, form) if known else BLANK


def with_stdev(row: Row, metric: str, form: str) -> str:
    """Mean ± sample standard deviation, as the studies print it."""
    mean, stdev = row[f"{metric}_mean"], row[f"{metric}_stdev"]
    text = number(mean, form)
    return text if number(stdev) == BLANK or text == BLANK else f"{text} ± {number(stdev, form)}"


def differences(row: Row, published: Mapping[str, object]) -> list[str]:
    """In what the settings of a row are not the published ones, each with both."""
    found = ["a tiny model"] if is_tiny(row) else []
    for name, wanted in published.items():
        own = row[name]
        if name == "architecture":
            own = ALIASES.get(str(own), own)
        if isinstance(wanted, (int, float)) and not isinstance(own, str):
            same = own == own and float(own) == float(wanted)
        else:
            same = own == wanted
        if not same:
            found.append(f"{name} {own if own == own and own != '' else 'unknown'}, not {wanted}")
    return found


def is_tiny(row: Row) -> bool:
    """Whether a synthetic model is the small form of its architecture."""
    return row["weights"] == "synthetic" and str(row["model"]).endswith(" tiny")


def likeness(row: Row, published: Mapping[str, object]) -> str:
    """How far a row's work is the published one."""
    other = differences(row, published)
    if row["weights"] != "synthetic":
        return "the same settings" if not other else f"other work: {'; '.join(other)}"
    if not other:
        return "the same settings, random weights"
    return f"other work: {'; '.join(other)}; random weights"
