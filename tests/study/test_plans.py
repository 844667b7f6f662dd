"""Every shipped plan's tiny form is carried out in the real ComfyUI on the CPU."""

import pandas as pd
import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.cli.matrix import WORKFLOWS, find_plan
from wattbench.report import read_runs
from wattbench.study.cells import ready
from wattbench.study.matrix import Matrix
from wattbench.study.matrix_results import write_results
from wattbench.study.plan import read_plan
from wattbench.study.published import PAGES
from wattbench.study.rig import RunningRig
from wattbench.study.visits import JOURNAL, read_visits

from ..soaking import in_gate

CELLS = {
    "attention": (2, {"sage_2": ""}),
    "weights": (2, {"w4a8": "comfy_kitchen"}),
    "quantization": (3, {"nf4": "by the plan"}),
    "energy_law": (5, {"128": "by the plan"}),
    "edge_nodes": (1, {"180": "no rights"}),
}
STUDIES = {
    "edge_nodes": {
        "Table 2": ["GPU", "It/s ± stdev", "Img/kWh ± stdev", "CI It/s", "Likeness"],
        "Table 4 and Figure 1": ["GPU", "SDXL peak", "stdev", "CI", "Z-Image peak"],
    },
    "quantization": {
        "Table 3": ["Model", "Quant", "Avg time (s)", "s/step", "Steps", "VRAM peak (GB)"],
        "Table 2": ["Model", "Format", "Bytes ×", "published", "Time ×", "published"],
    },
    "energy_law": {"Table 1": ["Model", "Term", "Yours", "Published"]},
}
"""Tables of each study's page, with the headings that they begin with, as published."""

OWN = {
    "edge_nodes": ("Table 2", 1, "| other work: a tiny model"),
    "quantization": ("Table 3", 3, "| other work: a tiny model"),
    "energy_law": ("Table 1", 0, "No law: no usable row: 5 rows left out: a tiny synthetic model"),
}
"""Where rows of the tiny plan's cells stand, how many, and what is said of them."""


def found_here(name, bench):
    plan = read_plan(find_plan(f"tiny/{name}"), WORKFLOWS)
    return plan, ready(plan, bench, lambda cap_w: "no rights")


def test_a_tiny_plan_has_cells_for_this_machine_and_says_what_it_lacks(comfy_server, tmp_path):
    rig = RunningRig(comfy_server.client, tmp_path, 600)
    with rig.open((), "levers") as bench:
        for name, (count, reasons) in CELLS.items():
            _, found = found_here(name, bench)
            assert len(found.cells) == count
            for level, reason in reasons.items():
                told = [one.reason for one in found.skipped if level in one.cell.name]
                assert told
                assert all(one and reason in one for one in told)


@pytest.mark.parametrize("name", in_gate(CELLS, STUDIES, "others do the same"))
def test_a_tiny_plan_is_carried_out(name, comfy_server, tmp_path):
    rig = RunningRig(comfy_server.client, tmp_path, 600)
    with rig.open((), "levers") as bench:
        plan, found = found_here(name, bench)
        environment = bench.environment()
    journal = read_visits(tmp_path / JOURNAL)
    journal.begin({"study": "a study", "environment": environment})
    Matrix(plan, found, rig, journal, "a study").run()
    assert [visit.error for visit in journal.made] == [""] * len(found.cells)
    assert all(visit.s_per_img > 0 and visit.j_per_img > 0 for visit in journal.made)
    matrix = Matrix(plan, found, rig, read_visits(tmp_path / JOURNAL), "a study")
    write_results(matrix, tmp_path)
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert runs["cell"].tolist() == [cell.name for cell in found.cells]
    assert runs["picture_file"].notna().all()
    assert set(runs["visit"]) == {1}
    assert environment["torch"] == runs["torch"][0]
    assert environment["cpu_name"] == runs["cpu_name"][0]
    if name in STUDIES:
        check_page(
            name, PAGES[name.replace("_", "-")].markdown(Analysis(read_runs(tmp_path / "runs.csv")))
        )


def check_page(name, text):
    """The published layout, with the runs of this machine in it, which are none of the studies'."""
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    found = {}
    for title, headings in STUDIES[name].items():
        (section,) = (body for head, body in sections.items() if head.startswith(title))
        lines = [line for line in section.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        assert cells[0][: len(headings)] == headings
        found[title] = [row for row in cells[2:] if "published" not in row]
    title, count, said = OWN[name]
    assert len(found[title]) == count
    assert text.count(said) >= max(1, count)


def test_full_plans_tell_what_this_machine_lacks(comfy_server, tmp_path):
    rig = RunningRig(comfy_server.client, tmp_path, 600)
    with rig.open((), "levers") as bench:
        study = ready(read_plan(find_plan("edge_nodes"), WORKFLOWS), bench, lambda cap_w: "")
        kernels = ready(read_plan(find_plan("attention"), WORKFLOWS), bench, lambda cap_w: "")
    reasons = " ".join(one.reason for one in study.skipped)
    assert "has no ckpt_name 'plantMilkModelSuite.safetensors'" in reasons
    assert study.cells == []
    assert {"sdxl: attention=as_is", "z_image_turbo: attention=auto"} <= {
        cell.name for cell in kernels.cells
    }
