"""Names in a prompt are looked at when it is queued, those of another node when it runs."""

import urllib.error

import pytest

from ..waiting import result_of
from .posting import post

BAD_NAMES = ["CON", "a\x00b", "x" * 300, "a\ud800", "lpt1.json", "bell\a"]
BAD_FILES = ["/dev/zero", "/etc/passwd", "../../secret", "//server/share/x", "none.csv", *BAD_NAMES]


@pytest.fixture
def nodes(comfyui, workspace_folder, monkeypatch, tmp_path):
    """Every node by its name; ComfyUI's input folder is a temporary one too."""
    import folder_paths

    from wattbench.nodes import WattBenchExtension

    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    (tmp_path / "input").mkdir()
    workspace_folder.mkdir()
    (tmp_path / "secret").write_text("t_s,power_w\n0,1\n1,1\n", "utf-8")
    listed = result_of(WattBenchExtension().get_node_list())
    return {node.define_schema().node_id: node for node in listed}


def of_meter(nodes):
    return [
        node for node in nodes.values() if any(i.id == "meter" for i in node.define_schema().inputs)
    ]


def test_every_node_with_a_meter_looks_at_its_recording(nodes, tmp_path):
    (tmp_path / "input" / "trace.csv").write_text("t_s,power_w\n0,1\n1,1\n", "utf-8")
    metered = of_meter(nodes)
    assert len(metered) == 10
    for node in metered:
        for meter in ("auto", "nvml:0", "estimate", "replay:trace.csv", "replay:trace.csv+rapl"):
            assert node.validate_inputs(meter=meter) is True
        assert node.validate_inputs() is True
        for file in BAD_FILES:
            for meter in (f"replay:{file}", f"auto+replay:{file}", f"replay:{file} + rapl"):
                answer = node.validate_inputs(meter=meter)
                assert isinstance(answer, str)
                assert answer.isprintable()


@pytest.mark.parametrize(
    ("node_id", "field"),
    [
        ("WattBenchExportCSV", "folder"),
        ("WattBenchWatchGraph", "folder"),
        ("WattBenchCalibrate", "name"),
        ("WattBenchQuantReport", "name"),
        ("WattBenchQuantizeCheckpoint", "name"),
        ("WattBenchLoadQuantized", "save_as"),
        ("WattBenchPredictEnergy", "calibration"),
    ],
)
def test_names_of_files_and_folders(nodes, node_id, field):
    assert node_id in nodes, sorted(nodes)
    node = nodes[node_id]
    assert node.validate_inputs() is True
    for name in BAD_NAMES:
        answer = node.validate_inputs(**{field: name})
        assert isinstance(answer, str)
        assert answer.isprintable()
    assert isinstance(node.validate_inputs(**{field: "../../../out"}), str)
    if field != "calibration":
        assert node.validate_inputs(**{field: "mine"}) is True


def test_a_recording_from_another_node_is_looked_at_while_a_prompt_runs(nodes, monkeypatch):
    from wattbench.hosts.comfyui import incoming

    assert incoming.meter_of("replay:/dev/zero") == "replay:/dev/zero"
    monkeypatch.setattr(type(incoming.HOST), "job_id", lambda self: "a prompt")
    with pytest.raises(ValueError, match="is not a file in"):
        incoming.meter_of("replay:/dev/zero")


def test_a_server_refuses_the_prompt_before_anything_runs(comfy_server):
    graph = {
        "1": {
            "class_type": "WattBenchSyntheticModel",
            "inputs": {"architecture": "sdxl", "size": "tiny", "dtype": "auto", "seed": 0},
        },
        "2": {
            "class_type": "WattBenchProbeModel",
            "inputs": {"model": ["1", 0], "meter": "replay:/etc/passwd"},
        },
        "3": {"class_type": "WattBenchCollect", "inputs": {"value": ["2", 0], "probe": ["2", 1]}},
        "4": {"class_type": "WattBenchExportCSV", "inputs": {"runs": ["3", 1], "folder": "CON"}},
    }
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(comfy_server, "/prompt", {"prompt": graph})
    assert caught.value.code == 400
    body = caught.value.read().decode()
    assert "is the name of a device on Windows" in body
    assert "/etc/passwd' is not a file in" in body
    assert "root:" not in body
