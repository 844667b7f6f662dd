"""Sentences in another language, by templates; the same rules as ``web/messages.js``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

LANGUAGES = ("en", "pt-BR")
VALUE = "…"
"""In a template, what stands for a value."""

SEPARATOR = re.compile(r"; |: ")
NUMBER = re.compile(r"(?<![\w.,])([-+]?\d+)\.(\d+)(?![\w.])")
LOCALES = Path(__file__).parents[1] / "locales"
PAGE_TEXTS = Path(__file__).with_name("page.pt-BR.json")

Translate = Callable[[str], str]


def translator(language: str) -> Translate:
    """A function from English to ``language``.

    A text is translated where a template fits all of it, then its values are; where several fit,
    that with the most text of its own counts. Else its parts are, as far as they can be; what
    nothing fits comes back with its numbers written as in ``language``.
    """
    if language == "en":
        return str
    main = json.loads((LOCALES / language / "main.json").read_text("utf-8"))
    messages, page = main["wattbench"]["messages"], json.loads(PAGE_TEXTS.read_text("utf-8"))
    return _by({**page, **messages}, decimal_comma)


def decimal_comma(text: str) -> str:
    """``1.50 ± 0.12`` as ``1,50 ± 0,12``; versions and names keep their points."""
    return NUMBER.sub(r"\1,\2", text)


def _by(templates: Mapping[str, str], write: Translate) -> Translate:
    with_values = [source for source in templates if VALUE in source]
    with_values.sort(key=lambda source: -len(source.replace(VALUE, "")))
    patterns = [(_pattern(source), templates[source]) for source in with_values]

    def translated(text: str) -> str | None:
        if text in templates and VALUE not in text:
            return templates[text]
        for pattern, target in patterns:
            match = pattern.fullmatch(text)
            if match:
                values: Iterator[str] = map(say, match.groups())
                return re.sub(VALUE, lambda _, values=values: next(values), target)  # type: ignore[misc]
        return None

    def say(text: str) -> str:
        whole = translated(text)
        if whole is not None:
            return whole
        cuts = list(SEPARATOR.finditer(text))
        if not cuts:
            return write(text)
        cut = next((c for c in cuts if translated(text[: c.start()]) is not None), cuts[0])
        head = text[: cut.start()]
        return (translated(head) or write(head)) + cut[0] + say(text[cut.end() :])

    return say


def _pattern(template: str) -> re.Pattern[str]:
    """The first value takes as much as it can: endings are the most telling."""
    pattern = "(.+?)".join(map(re.escape, template.split(VALUE)))
    return re.compile(re.sub(r"^\(\.\+\?\)", "(.+)", pattern), re.S)
