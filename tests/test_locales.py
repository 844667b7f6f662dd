"""The translations cover what the real ComfyUI serves of this pack, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import get_args

import pytest

from wattbench.attention import BACKENDS
from wattbench.measure.meters.base import Provenance
from wattbench.offer import Machine
from wattbench.records import Method, Scope
from wattbench.report.translation import PAGE_TEXTS, translator
from wattbench.study.search import Stage

ROOT = Path(__file__).parents[1]
LOCALES = ROOT / "locales"
LANGUAGES = ("en", "pt-BR")
FILES = ("main", "nodeDefs", "settings")
MESSAGE_SYNTAX = set("@{}|$")
"""Characters that vue-i18n would read as syntax."""


def load(language, name):
    return json.loads((LOCALES / language / f"{name}.json").read_text("utf-8"))


def texts_of(definition):
    """The translatable texts of a node as ComfyUI serves it, nested as a locale nests them."""
    inputs = {
        name: {"name": name, "tooltip": spec[1].get("tooltip")}
        for section in ("required", "optional")
        for name, spec in definition["input"].get(section, {}).items()
    }
    outputs = zip(
        definition["output_name"],
        definition["output"],
        definition["output_tooltips"],
        strict=True,
    )
    return {
        "display_name": definition["display_name"],
        "description": definition["description"],
        "inputs": inputs,
        "outputs": {
            # ComfyUI names an output after its type where the two are equal.
            str(i): {"name": name if name != kind else None, "tooltip": tooltip}
            for i, (name, kind, tooltip) in enumerate(outputs)
        },
    }


def flat(texts, path=()):
    """Every non-empty text of a nest by its path."""
    if not isinstance(texts, dict):
        return {path: texts} if texts else {}
    items = [flat(value, (*path, key)) for key, value in texts.items()]
    return {key: text for item in items for key, text in item.items()}


@pytest.fixture(scope="module")
def served(comfy_server):
    nodes = comfy_server.client.get_json("/object_info")
    return {key: texts_of(node) for key, node in nodes.items() if key.startswith("WattBench")}


@pytest.fixture(params=LANGUAGES)
def language(request):
    return request.param


def test_all_languages_are_covered(language):
    assert sorted(folder.name for folder in LOCALES.iterdir()) == sorted(LANGUAGES)
    names = {path.name for path in (LOCALES / language).iterdir()}
    assert names == {f"{name}.json" for name in FILES}


def test_every_node_and_slot_has_an_entry_and_none_is_stale(served, language):
    translated = load(language, "nodeDefs")
    assert sorted(translated) == sorted(served)
    for node, texts in served.items():
        entry = translated[node]
        assert sorted(entry["inputs"]) == sorted(texts["inputs"]), node
        assert sorted(entry.get("outputs", {})) == sorted(texts["outputs"]), node


def test_english_repeats_the_nodes(served):
    """A text that a node inherits from core's node may be missing: ComfyUI shows it anyway."""
    known = flat(served)
    differing = {
        path: text for path, text in flat(load("en", "nodeDefs")).items() if known[path] != text
    }
    assert differing == {}


def test_portuguese_translates_all_that_english_has_to_read(served):
    prose = {path: text for path, text in flat(served).items() if path[-1] != "name"}
    portuguese = flat(load("pt-BR", "nodeDefs"))
    missing = set(prose) - set(portuguese)
    assert missing == set()
    english = {
        path
        for path, text in prose.items()
        if portuguese[path] == text and path[-1] in ("description", "tooltip")
    }
    assert english == set()


def sources(*patterns):
    paths = [path for pattern in patterns for path in (ROOT / "web").glob(pattern)]
    return "\n".join(path.read_text("utf-8") for path in paths)


def used_in(*patterns):
    source = sources(*patterns)
    used = set(re.findall(r'translate\("(\w+)"\)', source))
    return used | {key for pair in re.findall(r'\? "(\w+)" : "(\w+)"\)', source) for key in pair}


def said_in(*patterns):
    """All string literals of modules of the pack, f-strings with … for each value."""
    paths = [path for pattern in patterns for path in ROOT.glob(pattern)]
    trees = [ast.parse(path.read_text("utf-8")) for path in paths]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in joined for part in ast.walk(node)}
    plain = [
        node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in parts
    ]
    return {text for text in plain if isinstance(text, str)} | {*map(template_of, joined)}


def template_of(node):
    return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)


SPEAKING = (
    "measure/recording/board_state.py",
    "measure/graph/costs.py",
    "measure/protocol/steady.py",
    "measure/energy/totals.py",
    "analysis/protocol.py",
)
"""Modules whose sentences all reach the page, but for docstrings."""


def test_what_the_server_says_is_translated():
    messages = load("pt-BR", "main")["wattbench"]["messages"]
    rooms = ("measure/**/*.py", "analysis/**/*.py", "report/*.py", "quality/*.py", "hosts/**/*.py")
    rooms = (*rooms, "cli/matrix.py", "tables/*.py", "attention/*.py")
    assert set(messages) - said_in("nodes/*.py", *rooms) == set()
    assert [text for text in messages if text.count("…") != messages[text].count("…")] == []
    sentences = {
        text
        for text in said_in(*SPEAKING)
        if re.search(r"\w \w", text) and not re.match(r"[A-Z]|``", text)
    }
    assert sentences - set(messages) == set()


ENGLISH = re.compile(r"\b(and|attention|choose|for|is|memory|needs|not|or|the|this)\b")


def test_what_is_said_of_attention_kernels_is_translated():
    """Names alone, as FlashAttention-2, are the same in each language."""
    say = translator("pt-BR")
    for backend in BACKENDS:
        offer = backend.offer(Machine("cpu", "cpu"))
        said = map(say, (offer.description, offer.reason, offer.remedy))
        assert [text for text in said if ENGLISH.search(text)] == []


def test_what_meters_advise_is_translated():
    """Each sentence that a module of a meter names: reasons and remedies that doctor tells."""
    messages = load("pt-BR", "main")["wattbench"]["messages"]
    sentences = {
        node.value.value
        for path in (ROOT / "measure" / "meters").glob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str) and re.match(r"[^+]+ \w+ \w+", node.value.value)
    }
    assert len(sentences) > 10
    assert sentences - set(messages) == set()


RESULTS = ("card_view.js", "result_node.js", "tables.js", "actions.js", "beside_view.js")


def test_results_find_their_texts(language):
    texts = load(language, "main")["wattbench"]
    used = used_in("summary*.js", *RESULTS) | {"blank"}
    own = {*texts["common"], *texts["summary"]}
    assert own == used
    assert set(texts["tables"]) == used_in("table_node.js")
    assert set(texts["text"]) == {"empty"}


def test_the_hud_finds_its_texts(language):
    source = sources("hud*.js")
    used = set(re.findall(r'translate\("(\w+)"\)', source))
    used |= set(re.findall(r'is_running \? "(\w+)" : "(\w+)"', source)[0])
    (statuses,) = re.findall(r"@typedef {([^}:()]*)} Status", source)
    used |= {f"status_{status}" for status in re.findall(r"\w+", statuses)}
    used |= {f"scope_{scope}" for scope in get_args(Scope)}
    # A job's energy is never attributed: that takes a fit after the end.
    used |= {*get_args(Provenance), *get_args(Method)} - {"attributed"}
    assert set(load(language, "main")["wattbench"]["hud"]) == used


def test_what_nodes_cost_finds_its_texts(language):
    texts = load(language, "main")["wattbench"]
    used = used_in("watch*.js")
    shared = {*texts["common"]} - {*texts["watch"]}
    assert used - shared == set(texts["watch"])


@pytest.mark.parametrize("section", ["record", "fallback", "meter"])
def test_other_pages_find_their_texts(language, section):
    texts = load(language, "main")["wattbench"]
    named = {"record": "history"}.get(section, section)
    assert used_in(f"{section}*.js") - {*texts["common"]} == set(texts[named])


def test_tuning_finds_its_texts(language):
    source = sources("tune*.js")
    (states,) = re.findall(r"@property {([^}]*)} state", source)
    (objectives,) = re.findall(r"OBJECTIVES = \[([^\]]*)\]", source)
    used = used_in("tune*.js") | {"candidate", "ratio", "lost"}
    used |= {f"state_{state}" for state in re.findall(r"\w+", states)}
    used |= {*re.findall(r"\w+", objectives), *(stage.value for stage in Stage)}
    assert set(load(language, "main")["wattbench"]["tune"]) == used


BOLD = re.compile(r"\*\*([^*]+)\*\*")


def test_notes_of_templates_are_translated_line_by_line():
    lines = json.loads((ROOT / "web" / "notes.pt-BR.json").read_text("utf-8"))
    notes = [
        node
        for path in (ROOT / "workflows").rglob("*.json")
        for node in json.loads(path.read_text("utf-8"))["nodes"]
        if node["type"] == "MarkdownNote"
    ]
    said = {line for node in notes for line in node["widgets_values"][0].split("\n")}
    unspoken = {line for line in said if re.fullmatch(r"(- )?(\*\*[^*]+\*\*)?", line)}
    assert set(lines) == said - unspoken | {node["title"] for node in notes}
    assert len(set(lines.values())) == len(lines)
    same = {line for line, translated in lines.items() if line == translated}
    assert {line for line in same if not line.startswith("## ")} == set()
    pressed = {"Run": "Executar"}
    for line, translated in lines.items():
        names = sorted(pressed.get(name, name) for name in BOLD.findall(line))
        assert names == sorted(BOLD.findall(translated)), line


def test_settings_are_those_of_the_pages(language):
    declared = re.findall(r'"(WattBench\.\w+\.\w+)"', sources("*.js"))
    names = {key.replace(".", "_") for key in declared}
    texts = load(language, "settings")
    assert set(texts) == names
    if language == "en":
        for text in texts.values():
            assert f'name: "{text["name"]}"' in sources("*.js")


def test_categories_are_those_of_the_nodes(comfy_server, language):
    nodes = comfy_server.client.get_json("/object_info")
    categories = {
        part
        for key, node in nodes.items()
        if key.startswith("WattBench")
        for part in node["category"].split("/")
    }
    assert set(load(language, "main")["nodeCategories"]) == categories


def test_no_text_is_message_syntax(language):
    for name in FILES:
        broken = {
            path: text
            for path, text in flat(load(language, name)).items()
            if MESSAGE_SYNTAX & set(text)
        }
        assert broken == {}


def test_no_text_stands_twice():
    def once(pairs):
        assert len(dict(pairs)) == len(pairs), [key for key, _ in pairs]
        return dict(pairs)

    for file in (PAGE_TEXTS, *LOCALES.rglob("*.json")):
        json.loads(file.read_text("utf-8"), object_pairs_hook=once)
