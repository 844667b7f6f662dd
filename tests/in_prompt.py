"""Whole graphs on ComfyUI's own executor, in this process."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .waiting import result_of

CASES = Path(__file__).parent / "data" / "cases"
NUMBERS = itertools.count()
EXTRAS = ("rebatch", "perpneg", "custom_sampler", "primitive")
"""Files of ComfyUI's own with nodes that the graphs use."""


class Page:
    """As much of ComfyUI's server as its executor calls."""

    client_id = None
    last_node_id = None

    def __init__(self):
        self.app = {}

    def send_sync(self, event, data, client_id=None):
        """Nobody is told."""

    def send_progress_text(self, text, node_id, sid=None):
        """Nobody is shown."""


def case(name):
    """The graph of a file of ``data/cases``."""
    return json.loads((CASES / f"{name}.json").read_text("utf-8"))


@pytest.fixture
def execute(comfyui, workspace_folder, hundred_watts, monkeypatch):
    """A function that executes a graph, and answers the runs that it measured, at 100 W.

    ``executor`` is one of :attr:`make_executor`, to keep ComfyUI's cache from graph to graph.
    """
    import execution
    from comfy_execution import progress
    from server import PromptServer

    from wattbench.measure.protocol.journal import parse
    from wattbench.nodes import WattBenchExtension

    monkeypatch.setattr(comfyui, "NODE_CLASS_MAPPINGS", dict(comfyui.NODE_CLASS_MAPPINGS))
    for name in EXTRAS:
        path = Path(comfyui.__file__).parent / "comfy_extras" / f"nodes_{name}.py"
        assert result_of(comfyui.load_custom_node(str(path), module_parent="comfy_extras"))
    for node in result_of(WattBenchExtension().get_node_list()):
        comfyui.NODE_CLASS_MAPPINGS[node.GET_SCHEMA().node_id] = node
    page = Page()
    # What follows a prompt lives in ComfyUI's registry, which outlives it.
    monkeypatch.setattr(progress, "global_progress_registry", None)
    monkeypatch.setattr(PromptServer, "instance", page, raising=False)
    ram = {"ram": 0, "ram_inactive": 0, "lru": 0}
    journal = workspace_folder / "wattbench" / "journal.jsonl"

    def make_executor():
        return execution.PromptExecutor(page, cache_args=ram)

    def run(graph, executor=None, extra_data=None):
        executor = executor or make_executor()
        graph = json.loads(
            json.dumps(graph).replace('"meter": "auto"', f'"meter": "{hundred_watts}"')
        )
        outputs = [
            name
            for name, node in graph.items()
            if node["class_type"] in ("PreviewImage", "SaveImage", "WattBenchExportCSV")
        ]
        prompt_id = f"case{next(NUMBERS)}"
        with ThreadPoolExecutor(1) as pool:
            pool.submit(executor.execute, graph, prompt_id, extra_data or {}, outputs).result()
        failed = [data for event, data in executor.status_messages if event == "execution_error"]
        assert not failed, failed
        runs = parse(journal.read_text("utf-8"))
        return [run for run in runs if run.job_id == prompt_id]

    run.make_executor = make_executor
    return run
