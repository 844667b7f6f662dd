"""A plan in a running Forge: ``wattbench run --forge`` over HTTP, with the fake host behind it."""

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
from PIL import Image

from wattbench.cli import main
from wattbench.errors import CommandError
from wattbench.hosts.remote.forge import ForgeClient
from wattbench.study.forge_rig import ForgeRig, request_of

PLAN = """
name = "kernels"
seed = 1
[[workload]]
name = "cat"
workflow = "cat.json"
[axes]
{axes}
[run]
warmup = 0
repeats = 1
[stop]
blocks_min = 1
blocks_max = 1
"""
REQUEST = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 5}
REQUEST.update(sampler_name="sample_euler", scheduler="Normal")


@pytest.fixture
def api(forge):
    """The fake host's API at an address, and the bodies of the requests that came."""
    routes, bodies = forge.face.routes, []
    forge.shared.opts.data["wattbench_meter"] = "estimate"
    added = {}
    register = type(
        "App", (), {"add_api_route": staticmethod(lambda r, f, **kw: added.update({r: f}))}
    )
    routes.add_routes(None, register)
    known = {
        "/sdapi/v1/options": {"sd_model_checkpoint": "a.safetensors"},
        "/sdapi/v1/samplers": [{"name": "sample_euler"}, {"name": "sample_ddim"}],
        "/sdapi/v1/schedulers": [{"label": "Normal"}],
        "/sdapi/v1/sd-models": [
            {"title": "a.safetensors", "model_name": "a", "filename": "models/a.safetensors"}
        ],
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            query = {key: int(value) for key, (value,) in parse_qs(url.query).items()}
            if url.path in added:
                return self.say(200, added[url.path](**query))
            return self.say(200, known[url.path]) if url.path in known else self.say(404, {})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("interrupt"):
                return self.say(200, {})
            bodies.append(body)
            arguments = body.pop("alwayson_scripts")["WattBench"]["args"]
            asked = dict(zip(added["/wattbench/arguments"](), arguments, strict=True))
            try:
                made = forge.generate(body, **asked)
            except (RuntimeError, ValueError) as error:
                return self.say(500, {"error": type(error).__name__, "errors": str(error)})
            pictures = [encoded(picture) for picture in made.images]
            return self.say(200, {"images": pictures, "info": "{}"})

        def say(self, status, answer):
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, bodies
    server.shutdown()
    server.server_close()


def encoded(picture):
    data = io.BytesIO()
    picture.save(data, "png")
    return base64.b64encode(data.getvalue()).decode()


@pytest.fixture
def run_plan(api, tmp_path):
    """Carry a plan with these axes out; the exit code and the folder of the results."""
    port, _ = api

    def run(axes, request=REQUEST, command="run", *options):
        (tmp_path / "plan.toml").write_text(PLAN.format(axes=axes))
        (tmp_path / "cat.json").write_text(json.dumps(request))
        plan, out = str(tmp_path / "plan.toml"), tmp_path / "out"
        address = f"127.0.0.1:{port}"
        return main([command, plan, "--forge", address, "--out", str(out), *options]), out

    return run


def test_cells_of_a_plan_are_generations(run_plan, api):
    code, out = run_plan('attention = ["as_is", "sdpa_math"]\nsteps = [2, 3]')
    assert code == 0
    runs = pd.read_csv(out / "runs.csv")
    assert sorted(zip(runs["attention"], runs["steps"], strict=True)) == [
        ("sdpa_math", 2), ("sdpa_math", 3), ("sub_quadratic", 2), ("sub_quadratic", 3),
    ]  # fmt: skip
    assert set(runs["host"]) == {"Forge"}
    assert (runs["energy_j"] > 0).all()
    assert all(Image.open(out / file).size == (64, 64) for file in runs["picture_file"])
    assert len(api[1]) == 4
    assert all(
        body["override_settings"] == {"sd_model_checkpoint": "a.safetensors"} for body in api[1]
    )
    assert (out / "report.html").exists()


def test_seeds_of_warm_ups_and_repeats_follow_each_other(run_plan, api, tmp_path):
    run_plan('attention = ["as_is"]')
    text = (tmp_path / "plan.toml").read_text().replace("repeats = 1", "repeats = 2")
    (tmp_path / "more.toml").write_text(text.replace("warmup = 0", "warmup = 1"))
    address = f"127.0.0.1:{api[0]}"
    out = str(tmp_path / "more")
    assert main(["matrix", str(tmp_path / "more.toml"), "--forge", address, "--out", out]) == 0
    assert [body["seed"] for body in api[1]] == [5, 5, 6, 7]
    assert pd.read_csv(tmp_path / "more" / "runs.csv")["is_warmup"].tolist() == [True, False, False]


def test_what_forge_lacks_is_told_and_left_out(run_plan, capsys):
    code, out = run_plan(
        'compile = ["as_is", "default"]\nsampler = ["sample_euler", "sample_heun"]'
    )
    assert code == 0
    told = capsys.readouterr()
    assert "no lever 'compile'" in told.out + told.err
    assert "no sampler_name 'sample_heun'" in told.out + told.err
    assert len(pd.read_csv(out / "runs.csv")) == 1


def test_a_generation_that_fails_is_a_visit_with_its_reason(run_plan, forge, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise RuntimeError("no memory is left")

    monkeypatch.setattr(forge.processing.StableDiffusionProcessing, "sample", fail)
    code, out = run_plan('attention = ["as_is"]')
    assert code == 1
    assert "attention=as_is: RuntimeError: no memory is left" in capsys.readouterr().out
    assert "no memory is left" in pd.read_csv(out / "runs.csv")["error"][0]


@pytest.mark.parametrize(
    ("request_body", "reason"),
    [
        ({"nodes": [], "links": []}, "no request to Forge"),
        ({"1": {"class_type": "KSampler", "inputs": {}}}, "no request to Forge"),
        ([], "no request to Forge"),
        ({**REQUEST, "seed": -1}, "seed is -1"),
    ],
)
def test_what_is_no_request_is_refused(run_plan, capsys, request_body, reason):
    assert run_plan('attention = ["as_is"]', request_body)[0] == 1
    told = capsys.readouterr()
    assert reason in told.out + told.err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--repeats", "3"), "the plan says all"),
        (("--visits", "2"), "the plan says all"),
        (("--device", "cpu"), "leave --device"),
        (("--", "--lowvram"), "keeps its launch options"),
    ],
)
def test_options_that_a_running_forge_cannot_follow(run_plan, capsys, options, reason):
    assert run_plan('attention = ["as_is"]', REQUEST, "run", *options)[0] == 2
    assert reason in capsys.readouterr().err


def test_the_limit_of_another_machines_board_is_not_set_here(tmp_path, capsys):
    (tmp_path / "plan.toml").write_text(PLAN.format(axes="power_cap_w = [100]"))
    (tmp_path / "cat.json").write_text(json.dumps(REQUEST))
    where = ["--forge", "192.0.2.1:7860", "--out", str(tmp_path / "out")]
    assert main(["run", str(tmp_path / "plan.toml"), *where]) == 2
    assert "Forge runs at 192.0.2.1: carry the plan out there" in capsys.readouterr().err


def test_a_forge_without_the_pack(api, tmp_path, forge):
    port, _ = api
    client = ForgeClient("127.0.0.1", port, 60)
    with pytest.raises(CommandError, match="install the extension, start Forge with --api"):
        client.own("/wattbench/nothing")
    nobody = ForgeRig(ForgeClient("127.0.0.1", 9, 60), tmp_path).open((), "")
    with pytest.raises(CommandError, match="no Forge answers at"), nobody:
        pass


def test_other_scripts_and_settings_of_a_request_stay(api, tmp_path):
    request = {
        **REQUEST,
        "alwayson_scripts": {"Other": {"args": [1]}},
        "override_settings": {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "b"},
    }
    with ForgeRig(ForgeClient("127.0.0.1", api[0], 60), tmp_path).open((), "") as bench:
        graph = bench.with_levers(bench.api_graph(request), (("attention", "sdpa"),))
        path, body = request_of(graph, bench.arguments)
    assert path == "/sdapi/v1/txt2img"
    assert body["alwayson_scripts"]["Other"] == {"args": [1]}
    assert body["override_settings"] == request["override_settings"]
    assert "sdpa" in body["alwayson_scripts"]["WattBench"]["args"]
    assert {key: body[key] for key in REQUEST} == REQUEST
    image = {**REQUEST, "init_images": ["x"]}
    assert request_of(bench.api_graph(image), bench.arguments)[0] == "/sdapi/v1/img2img"


@pytest.fixture
def tune(api, tmp_path):
    """Tune a request on the fake host; the exit code and the folder of the results."""

    def run(*options, request=REQUEST):
        (tmp_path / "cat.json").write_text(json.dumps(request))
        out = tmp_path / "tuned"
        given = ["tune", str(tmp_path / "cat.json"), "--forge", f"127.0.0.1:{api[0]}"]
        return main([*given, "--out", str(out), *options]), out

    return run


def test_a_request_is_tuned(tune, api):
    code, out = tune("--levers", "attention=sdpa_math", "memory_format", "--repeats", "1")
    assert code == 0
    candidates = pd.read_csv(out / "candidates.csv").set_index("candidate")
    assert {"as it is", "attention=sdpa_math", "memory_format=channels_last"} <= set(
        candidates.index
    )
    assert candidates["fault"].isna().all()
    assert (candidates["s_per_img"] > 0).all()
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["objective"] == "s_per_img"
    left_out = {(one["lever"], one["level"]): one["reason"] for one in verdict["left_out"]}
    assert left_out["memory_format", "as loaded"] == "it leaves all as it is"
    runs = pd.read_csv(out / "runs.csv")
    assert set(runs["host"]) == {"Forge"}
    assert set(runs["attention"]) == {"sub_quadratic", "sdpa_math"}
    # The first of a turn warms up, and no seed comes twice in the turns of one candidate.
    seeds = [body["seed"] for body in api[1]]
    assert seeds[:2] == [seeds[0], seeds[0] + 1]
    assert runs.groupby("cell")["seed"].agg(lambda own: own.is_unique).all()


def test_what_a_level_of_forge_did_is_only_asked_where_it_is_counted(tune):
    """There is no ledger of its weights; attention that fell back is no saving."""
    code, out = tune("--levers", "weights=bnb-nf4", "--repeats", "1", "--objective", "peak_vram")
    told = pd.read_csv(out / "candidates.csv").set_index("candidate")["fault"]
    assert "never consulted" not in str(told["weights=bnb-nf4"])
    assert code in (0, 1)


def test_levels_that_change_nothing_are_not_tried(tune, capsys):
    code, _ = tune("--dry-run")
    assert code == 0
    told = capsys.readouterr().out
    assert "not tried: attention = forge: it leaves all as it is" in told
    assert "not tried: weights = Automatic: it leaves all as it is" in told
    assert "not tried: attention = split: slow by design" in told


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (("--levers", "launch=--fast"), 2, "needs a server of our own"),
        (("--levers", "compile=default"), 2, "no level 'default'"),
        (("--device", "cpu"), 2, "leave --device"),
        (("--", "--lowvram"), 2, "keeps its launch options"),
    ],
)
def test_what_cannot_be_tuned_in_a_running_forge(tune, capsys, options, code, reason):
    assert tune(*options)[0] == code
    assert reason in capsys.readouterr().err


def test_a_tuned_request_computes_as_it_says(api, forge, tmp_path):
    rig = ForgeRig(ForgeClient("127.0.0.1", api[0]), tmp_path)
    with rig.open((), "tuned") as bench:
        graph = bench.graph_with(REQUEST, None, ())
        tuned = bench.with_settings(REQUEST, graph, (("attention", "sdpa_math"),))
        assert bench.with_settings(REQUEST, graph, ())["prompt"] == REQUEST["prompt"]
    arguments = tuned.pop("alwayson_scripts")["WattBench"]["args"]
    assert tuned == REQUEST
    asked = dict(zip(forge.face.routes.arguments(), arguments, strict=True))
    assert asked == {**forge.face.routes.arguments(), "measure": False, "attention": "sdpa_math"}
