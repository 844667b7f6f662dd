"""Every node has a help page in both languages, which ComfyUI serves, and which names its slots."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).parents[1] / "web" / "docs"
LANGUAGE = "pt-BR"
HEADINGS = {
    "en": ("Inputs", "Outputs", "What to know", "A result", "Example"),
    LANGUAGE: ("Entradas", "Saídas", "O que saber", "Um resultado", "Exemplo"),
}
MOST_BYTES = 60_000


@pytest.fixture(scope="module")
def nodes(comfy_server):
    served = comfy_server.client.get_json("/object_info")
    return {key: node for key, node in served.items() if key.startswith("WattBench")}


def page_of(name, language):
    """ComfyUI looks for the page in the user's language first, then for the English one."""
    path = DOCS / f"{name}.md" if language == "en" else DOCS / name / f"{language}.md"
    return path.read_text("utf-8")


def slots_of(node):
    inputs = {
        name for section in ("required", "optional") for name in node["input"].get(section, {})
    }
    return inputs, set(node["output_name"])


def slots_in(page, heading):
    """What the list below ``heading`` names: ``- `model`, `clip`: ...``."""
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    names = [line.split(": ")[0] for line in section.splitlines() if line.startswith("- `")]
    return {slot for name in names for slot in re.findall(r"`(\w+)`", name)}


def test_there_is_a_page_for_each_node_and_no_other(nodes):
    assert sorted(path.stem for path in DOCS.glob("*.md")) == sorted(nodes)
    for folder in (path for path in DOCS.iterdir() if path.is_dir()):
        assert folder.name in nodes
        assert sorted(path.name for path in folder.iterdir()) == ["node.png", f"{LANGUAGE}.md"]


@pytest.mark.parametrize("language", HEADINGS)
def test_pages_name_all_inputs_and_outputs_and_no_others(nodes, language):
    inputs, outputs = HEADINGS[language][:2]
    for name, node in nodes.items():
        page = page_of(name, language)
        assert (slots_in(page, inputs), slots_in(page, outputs)) == slots_of(node), name


@pytest.mark.parametrize("language", HEADINGS)
def test_pages_have_a_picture_a_result_and_an_example(nodes, language):
    for name, node in nodes.items():
        page = page_of(name, language)
        wanted = [
            h for h in HEADINGS[language] if node["output_name"] or h not in ("Outputs", "Saídas")
        ]
        assert re.findall(r"^## (.*)$", page, re.M) == wanted, name
        assert page.count(f"]({name}/node.png)") == 1, name
        assert all(part.strip() for part in page.split("\n## ")), name
        file = DOCS / name / "node.png"
        assert file.stat().st_size <= MOST_BYTES, name
        with Image.open(file) as picture:
            assert picture.width == 640, name
            # A blank canvas has few colours of any size.
            assert sum(count > 200 for count, _ in picture.convert("RGB").getcolors()) > 5, name


def test_comfyui_serves_the_pages(comfy_server, nodes):
    root = f"http://{comfy_server.client.address}/extensions/wattbench/docs"
    for name in nodes:
        for file in (f"{name}.md", f"{name}/{LANGUAGE}.md", f"{name}/node.png"):
            with urllib.request.urlopen(f"{root}/{file}") as answer:
                assert answer.read() == (DOCS / file).read_bytes()


def test_named_templates_exist():
    workflows = {path.stem for path in (DOCS.parents[1] / "workflows").glob("*.json")}
    for page in DOCS.rglob("*.md"):
        example = re.split(r"## (?:Example|Exemplo)", page.read_text("utf-8"))[1]
        named = set(re.findall(r"\*(\w+)\*", example))
        assert named <= workflows, page
