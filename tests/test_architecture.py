"""Who may import whom, held over the syntax tree of every module of the pack."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("measure", "attention", "quant", "nodes", "cli", "scripts")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

WITHOUT_TORCH = (
    "measure/records",
    "measure/stats",
    "measure/report",
    "measure/flop",
    "measure/law",
)
HEAVY = {"torch", "pandas", "scipy", "torchao", "bitsandbytes", "amdsmi", "pynvml", "matplotlib"}
COMFY_INTERNALS = {"comfy", "comfy_execution", "comfyui_version", "folder_paths", "server"}


def imports(path, top_level_only=False):
    """Absolute names of what a module imports; the pack's own begin with ``wattbench``."""
    package = ["wattbench", *path.relative_to(ROOT).parts[:-1]]
    tree = ast.parse(path.read_text("utf-8"))
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


def room_of(name):
    """``measure/records/Run`` for ``wattbench.measure.records.Run``; empty for other packages."""
    parts = name.split(".")
    return "/".join(parts[1:]) if parts[0] == "wattbench" else ""


def relative(path):
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(params=MODULES, ids=relative)
def module(request):
    return request.param


def test_rooms_do_not_reach_up_or_across(module):
    here = relative(module).split("/")[0]
    allowed = {
        "measure": {"measure"},
        "attention": {"attention"},
        "quant": {"quant"},
        "nodes": {"measure", "attention", "quant", "nodes"},
        "scripts": {"measure", "attention", "quant", "scripts"},
        "cli": {"measure", "attention", "quant", "cli"},
    }[here]
    reached = {room_of(name).split("/")[0] for name in imports(module)} - {"", "offer"}
    assert reached <= allowed


def test_only_the_host_knows_comfyui(module):
    name = relative(module)
    roots = {imported.split(".")[0] for imported in imports(module)}
    if not name.startswith("nodes/"):
        assert "comfy_api" not in roots
    if not name.startswith("nodes/host/"):
        assert not roots & COMFY_INTERNALS


def test_tables_and_formulas_do_without_torch(module):
    if relative(module).startswith(WITHOUT_TORCH):
        assert "torch" not in {imported.split(".")[0] for imported in imports(module)}


def test_heavy_libraries_are_imported_late(module):
    """ComfyUI itself has torch loaded, so its host may import it at the top."""
    heavy = HEAVY - {"torch"} if relative(module).startswith("nodes/") else HEAVY
    assert not heavy & {imported.split(".")[0] for imported in imports(module, True)}


def test_modules_do_one_thing(module):
    lines = module.read_text("utf-8").splitlines()
    assert len(lines) <= 450
    for node in ast.walk(ast.parse("\n".join(lines))):
        if (
            isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and node.name != "define_schema"
        ):
            assert node.end_lineno - node.lineno < 60, node.name


def test_records_know_nothing_of_the_rest():
    assert {room_of(name) for name in imports(ROOT / "measure" / "records.py")} == {""}


def test_every_subpackage_is_packaged():
    """``packages`` of pyproject.toml names every folder that holds modules of the pack."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = set(re.findall(r'"(wattbench[\w.]*)",', text.split("packages = [")[1].split("]")[0]))
    folders = {".".join(("wattbench", *p.relative_to(ROOT).parts[:-1])) for p in MODULES}
    assert listed == folders | {"wattbench"}
