"""Every shipped plan's tiny form is carried out in the real ComfyUI on the CPU."""

import pandas as pd
import pytest

from wattbench.cli.matrix import WORKFLOWS, find_plan
from wattbench.study.cells import ready
from wattbench.study.matrix import Matrix
from wattbench.study.matrix_results import write_results
from wattbench.study.plan import read_plan
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


@pytest.mark.parametrize("name", in_gate(CELLS, ("attention", "edge_nodes"), "others do the same"))
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
