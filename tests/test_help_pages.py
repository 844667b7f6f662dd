"""Every node has a help page, which ComfyUI serves, and which names the node's slots."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "web" / "docs"


@pytest.fixture(scope="module")
def nodes(comfy_server):
    served = comfy_server.client.get_json("/object_info")
    return {key: node for key, node in served.items() if key.startswith("WattBench")}


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
    assert sorted(path.stem for path in DOCS.iterdir()) == sorted(nodes)


def test_pages_name_all_inputs_and_outputs_and_no_others(nodes):
    for name, node in nodes.items():
        page = (DOCS / f"{name}.md").read_text("utf-8")
        assert (slots_in(page, "Inputs"), slots_in(page, "Outputs")) == slots_of(node), name


def test_comfyui_serves_the_pages(comfy_server, nodes):
    for name in nodes:
        address = f"http://{comfy_server.client.address}/extensions/wattbench/docs/{name}.md"
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == (DOCS / f"{name}.md").read_bytes()


def test_named_templates_exist():
    workflows = {path.stem for path in (DOCS.parents[1] / "workflows").glob("*.json")}
    for page in DOCS.iterdir():
        example = page.read_text("utf-8").partition("## Example")[2]
        assert set(re.findall(r"\*(\w+)\*", example)) <= workflows, page.name
