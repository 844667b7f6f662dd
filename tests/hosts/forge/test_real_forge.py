"""The real Forge, where ``FORGE_PATH`` names one: its API, on the CPU, with random weights.

``FORGE_PYTHON`` is the Python that it runs in (default: ``venv/bin/python`` beside it or in it).
Nothing is written into Forge's folder: it gets a data folder of its own, with our repository and a
witness (``witness/witness.py``) as extensions.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import os
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from wattbench.cli import main
from wattbench.measure.protocol.journal import read
from wattbench.measure.recording.model_file import mark_of_files
from wattbench.quant.base import CONFIG
from wattbench.quant.inventory import layers_of, model_prefix, open_weights

from ...waiting import until
from .conftest import DEFAULTS, between_ticks

ROOT = Path(__file__).parents[3]
FORGE = os.environ.get("FORGE_PATH")
pytestmark = pytest.mark.skipif(FORGE is None, reason="FORGE_PATH names no Forge")

PORT = 7913
OPTIONS = (
    *("--skip-prepare-environment", "--skip-torch-cuda-test", "--always-cpu", "--api"),
    *("--nowebui", "--no-download-sd-model", "--server-name", "127.0.0.1", "--port", str(PORT)),
)
ASKED = {
    "prompt": "a cat on a mat",
    "negative_prompt": "blurry",
    "steps": 3,
    "width": 64,
    "height": 64,
    "cfg_scale": 7,
    "seed": 5,
    "sampler_name": "Euler",
    "scheduler": "Normal",
    "save_images": False,
}
PLAIN = {"cfg_scale": 1}
"""With guidance these random weights make NaN of everything, and a picture that is always black."""
SECOND_PASS = {
    "enable_hr": True,
    "hr_scale": 2,
    "hr_upscaler": "Latent",
    "hr_cfg": 2,
    "hr_additional_modules": ["Use same choices"],
    "denoising_strength": 0.7,
}


PLAN = """
name = "real"
seed = 1
[[workload]]
name = "cat"
workflow = "cat.json"
[axes]
attention = ["as_is", "sdpa_math"]
steps = [2, 3]
weights = ["as_is", "float8-e4m3fn"]
[run]
warmup = 0
repeats = 1
[stop]
blocks_min = 1
blocks_max = 1
"""


class Server:
    """Forge's API."""

    def __init__(self, checkpoint, python):
        self.checkpoint, self._python = checkpoint, python

    def has(self, package):
        done = subprocess.run([self._python, "-c", f"import {package}"], capture_output=True)
        return done.returncode == 0

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=600) as answer:
            return json.load(answer)

    def post(self, path, body):
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, kind)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def make(self, settings=None, path="txt2img", **asked):
        """The hashes of the pictures, the runs, what the witness counted, and the answer."""
        self.get("/witness/reset")
        since = self.get("/wattbench/journal")["end"]
        script = {"WattBench": {"args": list({**DEFAULTS, **asked}.values())}}
        body = {**ASKED, **(settings or {}), "alwayson_scripts": script}
        try:
            answer = self.post(f"/sdapi/v1/{path}", body)
        finally:
            assert self.get("/witness/changed") == []
        text = self.get(f"/wattbench/journal?since={since}")["text"]
        pictures = [pixels(picture) for picture in answer["images"]]
        return pictures, read(text.encode()).runs, self.get("/witness/counts"), answer


def pixels(encoded):
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(encoded)))
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def array(encoded):
    import numpy as np
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(encoded)))
    return np.asarray(image.convert("RGB"), float)


@pytest.fixture(scope="module")
def server(comfyui, tmp_path_factory):
    from ...reduced_checkpoints import write_sd15_checkpoint

    data = tmp_path_factory.mktemp("forge")
    models = data / "models" / "Stable-diffusion"
    models.mkdir(parents=True)
    write_sd15_checkpoint(models / "a.safetensors")
    (models / "b.safetensors").hardlink_to(models / "a.safetensors")
    scripts = data / "extensions" / "witness" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "witness.py").write_bytes(
        (Path(__file__).parent / "witness" / "witness.py").read_bytes()
    )
    (data / "extensions" / "wattbench").symlink_to(ROOT, target_is_directory=True)
    places = [Path(FORGE, "venv/bin/python"), Path(FORGE, "../venv/bin/python")]
    python = os.environ.get("FORGE_PYTHON") or next(str(p) for p in places if p.exists())
    log = (data / "log.txt").open("w")
    process = subprocess.Popen(
        [python, "launch.py", *OPTIONS, "--data-dir", str(data)],
        cwd=FORGE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    found = Server(models / "a.safetensors", python)

    def is_up():
        assert process.poll() is None, Path(log.name).read_text()[-3000:]
        try:
            return found.get("/witness/counts")
        except (urllib.error.URLError, ConnectionError):
            return None

    try:
        until(is_up, within_s=600, pause_s=0.5)
        yield found
    finally:
        process.terminate()
        process.wait(60)
        log.close()
    assert "Error running" not in Path(log.name).read_text()


def test_a_generation_is_what_the_witness_counted(server):
    (bare,), none, _, _ = server.make({"prompt": "x", **PLAIN}, measure=False)
    (same,), (run,), counts, answer = server.make({"prompt": "x", **PLAIN})
    assert none == ()
    assert same == bare == run.picture.sha256
    assert run.picture.fault == ""
    assert bare != server.make({"prompt": "x", "seed": 6, **PLAIN}, measure=False)[0][0]
    _, (run,), counts, answer = server.make({"prompt": "y", "negative_prompt": "z"})
    (sampling,) = run.samplings
    denoise = sum(p.duration_s for p in run.phases if p.name == "denoise")
    decode = sum(p.duration_s for p in run.phases if p.name == "decode")
    assert (sampling.steps_made, sampling.nfe) == (3, counts["evaluations"])
    assert sampling.forwards[0].call_count == counts["unet"] == 3
    assert run.kernel_calls[0].call_count == counts["attention"]
    assert 0 < counts["unet_s"] <= denoise
    assert 0 < counts["decoder_s"] <= decode
    assert run.environment.host == "Forge"
    told = json.loads(answer["info"])["infotexts"][0]
    assert f"WattBench run: {run.run_id}" in told
    joules = float(told.split("WattBench J/img: ")[1].split(",")[0])
    assert joules == pytest.approx(run.energy.energy_j, rel=1e-4)
    pasted = server.post("/sdapi/v1/png-info", {"image": answer["images"][0]})
    assert pasted["parameters"]["WattBench run"] == run.run_id


def test_joules_are_the_counters_over_the_phases(server):
    """Whole ticks within phases are theirs; of those at their borders a part, at most all."""
    _, (run,), _, _ = server.make({"prompt": "joules", "negative_prompt": "none"})
    compute = [phase for phase in run.phases if phase.name != "load"]
    least_j, most_j = between_ticks(run.trace.counter, compute)
    assert 0 < least_j <= run.energy.energy_j <= most_j


def test_a_benchmark_encodes_anew_and_repeats_the_picture(server):
    (bare,), _, _, _ = server.make(measure=False)
    pictures, runs, counts, _ = server.make(benchmark=True)
    assert [run.seed for run in runs] == [7, 5, 6]
    assert all(run.energy is not None for run in runs)
    assert len({run.condition for run in runs}) == 1
    assert sum(s.nfe for run in runs for s in run.samplings) == counts["evaluations"]
    assert pictures[0] == bare


def test_second_passes_and_batches_are_samplings(server):
    pictures, (run,), counts, _ = server.make({**SECOND_PASS, "n_iter": 2, "prompt": "two"})
    assert [s.width_px for s in run.samplings] == [64, 128, 64, 128]
    assert sum(s.nfe for s in run.samplings) == counts["evaluations"] == 12
    assert run.condition.batch_size == len(pictures) == 2


def test_a_refiner_is_another_sampling(server):
    override = {"sd_model_checkpoint": "a.safetensors"}
    refiner = {"refiner_checkpoint": "b.safetensors", "refiner_switch_at": 0.5, "steps": 4}
    _, (run,), counts, _ = server.make({**refiner, "override_settings": override})
    assert [(s.model, s.nfe) for s in run.samplings] == [("a.safetensors", 2), ("b.safetensors", 2)]
    assert counts["unet"] == 4
    _, (run,), _, _ = server.make({"override_settings": override, "prompt": "back"})
    assert run.condition.model == "a.safetensors"


def test_img2img_says_what_nobody_measured(server):
    *_, answer = server.make(measure=False)
    settings = {"init_images": answer["images"], "denoising_strength": 0.6, "steps": 4}
    _, (run,), counts, _ = server.make({**settings, "prompt": "again"}, path="img2img")
    assert "VAE encoding" in run.unmeasured
    assert run.energy is None
    assert run.samplings[0].nfe == counts["evaluations"]


def test_another_kernel_gives_the_picture(server):
    (bare,), _, _, _ = server.make(PLAIN, measure=False)
    for name in ("forge:split", "sdpa_math", "sub_quadratic"):
        _, (run,), counts, _ = server.make(PLAIN, attention=name)
        (calls,) = run.kernel_calls
        assert (calls.executed, calls.call_count) == (name, counts["attention"])
    assert bare == server.make(PLAIN, measure=False)[0][0]


def test_channels_last_is_taken_back(server):
    (bare,), _, _, _ = server.make(PLAIN, measure=False)
    _, (run,), _, _ = server.make(PLAIN, memory_format="channels_last")
    assert run.condition.optimizations == "channels_last"
    assert server.make(PLAIN, measure=False)[0][0] == bare


def test_a_plan_is_carried_out(server, tmp_path):
    pandas = pytest.importorskip("pandas")
    (tmp_path / "cat.json").write_text(json.dumps({**ASKED, "prompt": "a plan"}))
    (tmp_path / "plan.toml").write_text(PLAN)
    out = tmp_path / "out"
    server.post("/sdapi/v1/options", {"wattbench_meter": "estimate"})
    where = ["--forge", f"127.0.0.1:{PORT}", "--out", str(out)]
    assert main(["run", str(tmp_path / "plan.toml"), *where]) == 0
    assert server.get("/witness/changed") == []
    runs = pandas.read_csv(out / "runs.csv")
    cells = sorted(zip(runs["attention"], runs["steps"], runs["weight_format"], strict=True))
    assert [(kernel, steps) for kernel, steps, _ in cells] == [
        (kernel, steps) for kernel in ("sdpa_math", "sub_quadratic") for steps in (2, 2, 3, 3)
    ]
    assert len({weights for _, _, weights in cells}) == 2
    assert (runs["energy_j"] > 0).all()
    assert all((out / name).is_file() for name in runs["picture_file"])
    assert "</html>" in (out / "report.html").read_text("utf-8")


def test_a_request_is_tuned(server, tmp_path):
    pandas = pytest.importorskip("pandas")
    (tmp_path / "cat.json").write_text(json.dumps({**ASKED, **PLAIN, "prompt": "tuned"}))
    out = tmp_path / "out"
    server.post("/sdapi/v1/options", {"wattbench_meter": "estimate"})
    given = ["--forge", f"127.0.0.1:{PORT}", "--out", str(out), "--repeats", "1"]
    given += ["--levers", "attention=sdpa_math,forge:split", "--objective", "j_per_img"]
    given += ["--budget", "1"]
    assert main(["tune", str(tmp_path / "cat.json"), *given]) == 0
    assert server.get("/witness/changed") == []
    candidates = pandas.read_csv(out / "candidates.csv").set_index("candidate")
    assert {"as it is", "attention=sdpa_math", "attention=forge:split"} <= set(candidates.index)
    assert candidates["fault"].isna().all()
    assert (candidates["j_per_img"] > 0).all()
    told = json.loads((out / "verdict.json").read_text())["sentence"]
    assert "x the joules" in told or "Keep what you have" in told
    if (out / "tuned.json").is_file():
        assert server.post("/sdapi/v1/txt2img", json.loads((out / "tuned.json").read_text()))


def test_its_files_have_the_marks_that_comfyui_gives_them(server):
    _, (run,), _, _ = server.make({"prompt": "marks"})
    mark = mark_of_files([str(server.checkpoint)])
    assert run.condition.weights == f"file {mark}"
    assert run.condition.vae.endswith(f" {mark}")
    assert run.condition.text_encoder.endswith(f" {mark}")


@pytest.mark.parametrize("name", ["fp8", "int8", "nf4"])
def test_a_file_that_the_pack_has_quantized_is_loaded(server, name):
    """Its matrices stay as the file has them; the picture is near to that of the original."""
    if name == "nf4" and not server.has("bitsandbytes"):
        pytest.skip("this Forge has no bitsandbytes")
    file = server.checkpoint.with_name(f"{name}.safetensors")
    assert main(["quantize", str(server.checkpoint), str(file), "--format", name]) == 0
    server.post("/sdapi/v1/refresh-checkpoints", {})
    runs, seen = [], []
    for checkpoint in (server.checkpoint.name, file.name):
        override = {"sd_model_checkpoint": checkpoint}
        _, (run,), counts, answer = server.make({"override_settings": override, **PLAIN})
        runs.append(run)
        seen.append(array(answer["images"][0]))
    plain, ours = runs
    assert ours.condition.weight_format == {"fp8": "fp8_w"}.get(name, name)
    assert plain.condition.weight_format == "fp32"
    assert ours.condition.model == file.name
    with open_weights(file) as opened:
        layers = layers_of(opened, model_prefix(opened.entries))
        quantized = [layer for layer in layers if layer.config]
        saved = sum(
            4 * math.prod(layer.shape)
            - sum(entry.nbytes for role, entry in layer.tensors.items() if role != CONFIG)
            for layer in quantized
        )
    assert len(quantized) > 10
    assert counts["quantized"] == len(quantized) * counts["unet"] > 0
    assert plain.samplings[0].model_bytes - ours.samplings[0].model_bytes == saved
    away = abs(seen[0] - seen[1]).mean()
    other = abs(
        seen[0] - array(server.make({"seed": 99, **PLAIN}, measure=False)[3]["images"][0])
    ).mean()
    assert away < other / 4


def test_a_cancelled_one_leaves_nothing(server):
    def cancel():
        until(lambda: server.get("/witness/counts")["unet"] >= 2, within_s=300)
        server.post("/sdapi/v1/interrupt", {})

    thread = threading.Thread(target=cancel)
    server.get("/witness/reset")
    thread.start()
    _, (run,), _, _ = server.make({"steps": 150, "prompt": "never"})
    thread.join()
    assert run.not_counted == "the user stopped it"
    assert run.samplings[0].steps_made < run.samplings[0].steps == 150


def test_a_failure_leaves_nothing(server):
    since = server.get("/wattbench/journal")["end"]
    server.get("/witness/fail?at=2")
    try:
        with pytest.raises(urllib.error.HTTPError):
            server.make({"prompt": "broken"})
    finally:
        server.get("/witness/fail?at=0")
    text = server.get(f"/wattbench/journal?since={since}")["text"]
    assert [run.error for run in read(text.encode()).runs] == [
        "RuntimeError: the witness was told to fail"
    ]


def test_a_grid_has_a_run_for_each_cell(server):
    scripts = server.get("/sdapi/v1/script-info")
    (kinds,) = (
        argument["choices"]
        for script in scripts
        if script["name"] == "x/y/z plot" and not script["is_img2img"]
        for argument in script["args"]
        if argument["label"] == "X type"
    )
    axis = kinds.index("[WattBench] Attention")
    arguments = [axis, "", ["sdpa_math", "forge:split"], 0, "", [], 0, "", []]
    arguments += [True, False, False, False, False, False, False, 0, False]
    grid = {"script_name": "X/Y/Z plot", "script_args": arguments}
    pictures, runs, _, _ = server.make(grid, measure=False)
    assert [run.condition.attention for run in runs] == ["sdpa_math", "forge:split"]
    assert len(pictures) == 1
