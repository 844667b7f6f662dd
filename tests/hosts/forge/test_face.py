"""What Forge finds of us: one script, an accordion, settings, a route."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from .conftest import FAKE

ROOT = Path(__file__).parents[3]
RECORDED = Path(__file__).with_name("signatures.json")


def test_the_script_imports_its_own_and_nobody_elses(forge, tmp_path, monkeypatch):
    """Another extension's folder comes first on the path, and has packages of our names."""
    for name in ("measure", "report", "hosts"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('somebody else')")
    monkeypatch.syspath_prepend(tmp_path)
    path = ROOT / "scripts" / "wattbench_forge.py"
    spec = importlib.util.spec_from_file_location("wattbench_forge.py", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        classes = [
            value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, forge.scripts.Script)
        ]
        assert [value.__name__ for value in classes] == ["WattBenchScript"]
    finally:
        for name in [n for n in sys.modules if n.startswith("wattbench_in_forge")]:
            del sys.modules[name]


def test_nothing_else_of_the_repository_is_run_by_forge():
    assert [path.name for path in (ROOT / "scripts").iterdir() if path.suffix == ".py"] == [
        "wattbench_forge.py"
    ]
    for name in ("install.py", "preload.py", "javascript", "style.css"):
        assert not (ROOT / name).exists()


def test_the_components_are_the_options_in_order(forge):
    from wattbench.hosts.forge.options import Options

    script = forge.runner.alwayson_scripts[0]
    components = script.ui(False)
    names = [component.elem_id.removeprefix("script_wattbench_") for component in components]
    assert names == list(vars(Options()))
    assert [component.value for component in components] == list(vars(Options()).values())
    assert script.after[1] == "generation_info_txt2img"


def test_every_text_of_the_page_has_its_portuguese(forge):
    known = json.loads((ROOT / "localizations" / "pt_BR.json").read_text("utf-8"))
    script = forge.runner.alwayson_scripts[0]
    labels = {component.label for component in script.ui(False)}
    forge.face.register()
    sys.modules["modules.script_callbacks"].registered["settings"][-1]()
    labels |= {info.label for info in forge.shared.opts.data_labels.values()}
    gradio = sys.modules["gradio"]
    labels |= {made.value for made in gradio.made if isinstance(made, gradio.Button)}
    labels.add(forge.face.results.NOTHING)
    assert labels == set(known)


def test_the_card_follows_the_page(forge):
    script = forge.runner.alwayson_scripts[0]
    script.ui(True)
    component = SimpleNamespace(bound=[])
    component.change = lambda **binding: component.bound.append(binding)
    script.after[0](SimpleNamespace(component=component))
    (binding,) = component.bound
    assert "Nothing has been measured" in binding["fn"]()
    forge.generate()
    assert "a.safetensors" in binding["fn"]()


def test_settings_are_added_and_used(forge):
    forge.face.register()
    callbacks = sys.modules["modules.script_callbacks"].registered
    callbacks["settings"][-1]()
    labels = forge.shared.opts.data_labels
    assert {info.section for info in labels.values()} == {("wattbench", "WattBench")}
    forge.shared.opts.data["wattbench_meter"] = "estimate"
    forge.generate(meter="")
    assert forge.runs[0].energy.meter == "estimate"
    forge.shared.opts.data["wattbench_measure"] = False
    assert forge.runner.alwayson_scripts[0].ui(False)[0].value is False


def test_the_journal_is_served_from_a_byte_on(forge):
    routes = forge.face.routes
    end = routes.journal_from()["end"]
    forge.generate()
    told = routes.journal_from(end)
    assert json.loads(told["text"])["run_id"] == forge.runs[0].run_id
    assert routes.journal_from(told["end"]) == {"end": told["end"], "text": ""}
    assert routes.journal_from(told["end"] + 1)["text"] == ""


@pytest.mark.parametrize(("password", "served"), [(None, 4), ("user:secret", 0)])
def test_it_is_not_served_past_a_password(forge, password, served):
    forge.shared.cmd_opts.api_auth = password
    added = []
    app = SimpleNamespace(add_api_route=lambda *args, **kw: added.append(args))
    forge.face.routes.add_routes(None, app)
    assert len(added) == served


def test_the_card_shows_text_as_text(forge, monkeypatch):
    results = forge.face.results
    forge.sd_models.select("models/<b>x.safetensors")
    forge.generate()
    assert "&lt;b&gt;x.safetensors" in results.session_card()
    assert "<b>" not in results.session_card()
    assert "runs.csv" in results.export()


def test_what_is_missing_is_said(forge, monkeypatch):
    results = forge.face.results
    monkeypatch.setattr(results, "missing", lambda: ["nvidia-ml-py"])
    monkeypatch.delattr(sys.modules["backend.patcher.vae"].VAE, "decode")
    monkeypatch.delattr(sys.modules["backend.patcher.vae"].VAE, "decode_tiled")
    first, second = results.complaints()
    assert "pip install" in first
    assert second == "This Forge does not let decoding be measured."


def signature(function):
    """Names of parameters, without annotations, stars kept."""
    return [str(p.replace(annotation=p.empty, default=p.empty)) for p in parameters(function)]


def parameters(function):
    return inspect.signature(function).parameters.values()


def test_the_fake_has_the_signatures_of_the_real_one(any_forge):
    from wattbench.hosts.forge.hooks import POINTS

    recorded = json.loads(RECORDED.read_text("utf-8"))
    branch = "neo" if "Neo" in any_forge.face.FORGE.name else "forge"
    known = recorded[branch]["signatures"]
    for points in POINTS.values():
        for point in points:
            place = point.find()
            name = f"{point.module}:{point.name}"
            assert (place is not None) == (name in known), name
            if place is not None:
                assert signature(getattr(*place)) == known[name], name


def test_all_is_found_in_both_branches(any_forge):
    from wattbench.hosts.forge.hooks import missing_points

    assert missing_points() == []


@pytest.mark.skipif("FORGE_PATH" not in os.environ, reason="FORGE_PATH names no Forge")
def test_the_signatures_are_still_those_of_the_real_one():
    import ast

    recorded = json.loads(RECORDED.read_text("utf-8"))["forge"]
    root = Path(os.environ["FORGE_PATH"])
    for name, expected in recorded["signatures"].items():
        module, _, path = name.partition(":")
        where = recorded["made_in"].get(name, module)
        tree = ast.parse(root.joinpath(*where.split(".")).with_suffix(".py").read_text("utf-8"))
        for part in path.split("."):
            tree = next(n for n in tree.body if getattr(n, "name", None) == part)
        found = [a.arg for a in tree.args.args]
        found += [f"*{tree.args.vararg.arg}"] if tree.args.vararg else []
        found += [f"**{tree.args.kwarg.arg}"] if tree.args.kwarg else []
        assert found == expected, name


def test_nothing_of_forge_is_in_the_repository():
    assert not [path for path in FAKE.rglob("*.py") if len(path.read_text("utf-8")) > 9000]
