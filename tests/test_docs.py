"""What the documentation names exists: links, commands with their options, benchmarks."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from wattbench.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("web/docs/*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
COMMAND = re.compile(r"(?:`|^ {0,4})(?:python -m )?(wattbench [^`\n]+)", re.M)
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request):
    return request.param


@pytest.fixture(scope="module")
def parser():
    whole = argparse.ArgumentParser(prog="wattbench")
    subparsers = whole.add_subparsers(required=True)
    for name in COMMANDS:
        importlib.import_module(f"wattbench.cli.{name.replace('-', '_')}").register(subparsers)
    return whole


def anchors_of(page):
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def choices_of(parser):
    """The subcommands of a parser."""
    found = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return found[0] if found else {}


def test_links_lead_somewhere(page):
    for groups in LINK.findall(page.read_text("utf-8")):
        target, _, anchor = "".join(groups).partition("#")
        if target.startswith("http"):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors_of(path), f"{target}#{anchor}"


def test_every_page_is_linked():
    linked = {
        (page.parent / "".join(groups).partition("#")[0]).resolve()
        for page in PAGES
        for groups in LINK.findall(page.read_text("utf-8"))
    }
    assert set((ROOT / "docs").glob("*.md")) <= linked


def test_commands_and_their_options_exist(page, parser):
    text = page.read_text("utf-8").replace("\\\n", " ")
    for line in COMMAND.findall(text):
        words = shlex.split(line.partition(" #")[0].partition(" |")[0])[1:]
        command = parser
        while words and choices_of(command):
            assert words[0] in choices_of(command), line
            command = choices_of(command)[words.pop(0)]
        assert set(OPTION.findall(" ".join(words))) <= set(command._option_string_actions)


def test_benchmarks_and_their_options_exist(page):
    for name, rest in re.findall(r"benchmarks/(\w+\.py)([^`\n]*)", page.read_text("utf-8")):
        source = (ROOT / "benchmarks" / name).read_text("utf-8")
        assert {option for option in OPTION.findall(rest) if f'"{option}"' not in source} == set()


def test_the_map_of_the_house_is_true():
    """Every file that CONTRIBUTING names with its folder is there; ``x`` stands for a new one."""
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)", (ROOT / "CONTRIBUTING.md").read_text("utf-8")))
    assert len(named) > 10
    missing = [path for path in named if not path.endswith("/x.py") and not (ROOT / path).exists()]
    assert missing == []
