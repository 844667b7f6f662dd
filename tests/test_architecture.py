"""Who may import whom, held over the syntax tree of every module of the pack."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GROUND = {"incoming", "host", "records", "requirements", "offer"}
GROUND |= {"errors", "stats", "processes", "tables"}
FIRST = {"measure", "attention", "quant", "quality", "law"}
MAY_IMPORT = {
    **dict.fromkeys(FIRST, GROUND),
    "analysis": GROUND | FIRST,
    "report": GROUND | FIRST | {"analysis"},
    "hosts/comfyui": GROUND | FIRST,
    "hosts/forge": GROUND | FIRST | {"analysis", "report"},
    "hosts/remote": GROUND | FIRST | {"analysis", "report"},
    "study": GROUND | FIRST | {"analysis", "report", "hosts/remote"},
    "scripts": set(),
    "sharing": GROUND | FIRST | {"analysis", "report"},
    "nodes": GROUND | FIRST | {"analysis", "report", "hosts/comfyui"},
    "fleet": GROUND | FIRST | {"analysis", "report", "hosts/remote", "study", "sharing"},
    "cli": GROUND | FIRST | {"analysis", "report", "hosts/remote", "study", "sharing", "fleet"},
}
"""Rooms that a room may import besides itself. The ground floor imports none."""

NOT_THE_PACK = {"tests", "benchmarks", "tooling", ".venv", ".comfyui", ".git", "output", "build"}
MODULES = sorted(
    path
    for top in ROOT.iterdir()
    if top.name not in NOT_THE_PACK and top.name != "tasks.py"
    for path in ([top] if top.suffix == ".py" else top.rglob("*.py"))
)
WITHOUT_TORCH = {"records", "stats", "tables", "analysis", "report", "law"}
HEAVY = {
    "ray",
    "torch",
    "pandas",
    "scipy",
    "torchao",
    "bitsandbytes",
    "amdsmi",
    "pynvml",
    "matplotlib",
}
COMFY_INTERNALS = {"comfy", "comfy_execution", "comfyui_version", "folder_paths", "server"}
FORGE_INTERNALS = {"modules", "modules_forge", "backend", "gradio"}
HOSTED = COMFY_INTERNALS | FORGE_INTERNALS | {"comfy_api"}


@cache
def tree_of(path):
    return ast.parse(path.read_text("utf-8"))


def imports(path, top_level_only=False):
    """Absolute names of what a module imports; the pack's own begin with ``wattbench``."""
    package = ["wattbench", *path.relative_to(ROOT).parts[:-1]]
    tree = tree_of(path)
    nodes = _eager(tree.body) if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _eager(body):
    """Statements that run on import; those under ``if TYPE_CHECKING`` do not."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        for name in ("body", "orelse", "handlers", "finalbody"):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from _eager(getattr(node, name, []))


def room_of(parts):
    """``hosts/comfyui`` for ``("hosts", "comfyui", "core")``, ``records`` for ``("records",)``."""
    return "/".join(parts[: 2 if parts[0] == "hosts" else 1])


def rooms_reached(path):
    """The rooms of the pack that a module imports."""
    names = (name.split(".") for name in imports(path))
    return {room_of(name[1:]) for name in names if name[0] == "wattbench" and len(name) > 1}


def relative(path):
    return path.relative_to(ROOT).as_posix()


def here(path):
    return room_of(path.relative_to(ROOT).with_suffix("").parts)


def offenders(rule):
    """Modules of the pack that break a rule, with what they do against it."""
    found = {relative(path): rule(path) for path in MODULES}
    return {name: what for name, what in found.items() if what}


def test_every_room_stands_in_the_plan():
    rooms = {here(path) for path in MODULES} - {"__init__", "__main__", "hosts/__init__"}
    assert rooms == GROUND | set(MAY_IMPORT)


def test_rooms_do_not_reach_up_or_across():
    def reached(path):
        room = here(path)
        if room in ("__init__", "__main__"):
            return set()
        return rooms_reached(path) - {room} - MAY_IMPORT.get(room, {"stats", "records"})

    assert offenders(reached) == {}


def test_only_the_hosts_know_their_host():
    def known(path):
        roots = {imported.split(".")[0] for imported in imports(path)}
        allowed = {
            "hosts/comfyui": COMFY_INTERNALS | {"comfy_api"},
            "nodes": {"comfy_api"},
            "hosts/forge": FORGE_INTERNALS,
        }.get(here(path), set())
        return roots & HOSTED - allowed

    assert offenders(known) == {}


def test_only_the_fleet_knows_ray():
    def known(path):
        is_fleet = here(path) == "fleet"
        return () if is_fleet else {"ray"} & {name.split(".")[0] for name in imports(path)}

    assert offenders(known) == {}


def test_imports_within_the_pack_are_relative():
    """ComfyUI and Forge load the pack under a name of their own."""

    def absolute(path):
        found = []
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                found += [a.name for a in node.names if a.name.split(".")[0] == "wattbench"]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found += [node.module] if node.module.split(".")[0] == "wattbench" else []
        return found

    assert offenders(absolute) == {}


def test_tables_and_formulas_do_without_torch():
    def torch(path):
        roots = {imported.split(".")[0] for imported in imports(path)}
        return roots & {"torch"} if here(path) in WITHOUT_TORCH else set()

    assert offenders(torch) == {}


def test_heavy_libraries_are_imported_late():
    """ComfyUI and Forge have torch loaded, so their hosts may import it at the top."""

    def heavy(path):
        has_torch = here(path) in ("nodes", "hosts/comfyui", "hosts/forge")
        late = HEAVY - {"torch"} if has_torch else HEAVY
        return late & {imported.split(".")[0] for imported in imports(path, True)}

    assert offenders(heavy) == {}


def test_modules_do_one_thing():
    def long(path):
        functions = [
            node.name
            for node in ast.walk(tree_of(path))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and node.name != "define_schema"
            and node.end_lineno - node.lineno >= 60
        ]
        return functions + ["lines"] * (len(path.read_text("utf-8").splitlines()) > 450)

    assert offenders(long) == {}


def test_every_subpackage_is_packaged():
    """``packages`` of pyproject.toml names every folder that holds modules of the pack."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = set(re.findall(r'"(wattbench[\w.]*)",', text.split("packages = [")[1].split("]")[0]))
    folders = {".".join(("wattbench", *p.relative_to(ROOT).parts[:-1])) for p in MODULES}
    assert listed == folders


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from wattbench.records import Run", {"records"}),
        ("def f():\n    from ..law import data", {"law"}),
        ("from . import base", {"measure"}),
    ],
)
def test_the_rules_see_every_kind_of_import(tmp_path, monkeypatch, text, expected):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "measure" / "planted.py"
    path.parent.mkdir()
    path.write_text(text, "utf-8")
    assert rooms_reached(path) == expected
