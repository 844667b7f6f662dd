"""``report.html``: one page for people, that needs nothing but itself.

Needs Jinja2 and matplotlib, the extra ``report``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.analysis import Analysis
from ..tables.files import write_text
from .csv import read_runs
from .folder import Tuned, cells_in, tuned_of
from .page import Added, Page
from .page_sections import sections
from .private import scrubber, without_identity
from .translation import translator

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).parent
STYLES = (HERE / "page.css", HERE.parent / "web" / "card.css")
"""The card and the comparison look as they do in ComfyUI's page."""


class PageUnavailableError(RuntimeError):
    """Jinja2 or matplotlib is not installed."""


def write_page(folder: Path) -> str:
    """Write ``report.html`` on the runs of a folder of results; what to tell of it, a line.

    There is none without Jinja2 or matplotlib, or beside a file that is something else than its
    name says: the line tells why.

    Raises:
        OSError: it cannot be written.
    """
    try:
        page = as_html(Analysis(read_runs(folder / "runs.csv")), [folder])
    except (PageUnavailableError, ValueError) as error:
        return f"no report.html: {error}"
    return str(write_text(page, folder / "report.html"))


def as_html(
    analysis: Analysis,
    folders: Sequence[Path] = (),
    language: str = "en",
    *,
    with_prompts: bool = False,
    added: Sequence[Added] = (),
) -> str:
    """A whole page on runs; ``folders`` are where their pictures and verdicts lie.

    ``added`` are sections of other rooms, which come after the verdict.

    Host, user, paths, addresses and serial numbers are not in it; texts of prompts only
    ``with_prompts``.

    Raises:
        PageUnavailableError: without Jinja2 or matplotlib.
        ValueError: ``verdict.json``, ``candidates.csv`` or ``cells.csv`` of a folder is something
            else.
    """
    template = template_of("page.html.j2")
    translate = translator(language)
    scrub = scrubber()
    tuned: list[Tuned] = [found for folder in folders if (found := tuned_of(folder))]
    page = Page(
        shown=Analysis(without_identity(analysis.frame)),
        given=analysis,
        folders=tuple(folders),
        tuned=tuple(tuned),
        cells=tuple(cells for folder in folders if (cells := cells_in(folder)) is not None),
        language=language,
        t=translate,
        scrub=scrub,
        with_prompts=with_prompts,
        added=tuple(added),
    )
    return render(template, page)


def render(template: Template, page: Page) -> str:
    """The template filled in; only our own style, script and charts are markup in it."""
    began = sorted(page.shown.frame["started_at"])
    span = " / ".join(dict.fromkeys(at[:16].replace("T", " ") for at in began[:1] + began[-1:]))
    return template.render(
        language=page.language,
        t=page.t,
        title=page.t("WattBench report"),
        measured=f"{page.t('Measured')}: {span} UTC" if span else "",
        sections=sections(page),
        **inlined("page.js"),
    )


def inlined(*scripts: str, sheets: Sequence[Path] = STYLES) -> dict[str, object]:
    """Style and scripts of a page as markup, and the hash by which its policy knows the scripts."""
    from markupsafe import Markup

    script = "\n" + "\n".join((HERE / name).read_text("utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {
        "css": Markup("\n".join(sheet.read_text("utf-8") for sheet in sheets)),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "script_hash": f"sha256-{digest}",
    }


def template_of(name: str, *, has_charts: bool = True) -> Template:
    """A page's template.

    Raises:
        PageUnavailableError: without Jinja2, or matplotlib where it ``has_charts``.
    """
    try:
        if has_charts:
            import matplotlib  # noqa: F401
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise PageUnavailableError(
            f"a page needs Jinja2{' and matplotlib' if has_charts else ''}, and here is no "
            f"{error.name}: pip install {'jinja2 matplotlib' if has_charts else 'jinja2'}"
        ) from error
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
