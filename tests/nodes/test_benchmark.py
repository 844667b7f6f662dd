"""The protocol: warm-ups, repeats, idle power, failures, cancelling, and the journal."""

import threading
import time

import pytest
import torch

from wattbench.measure.protocol.journal import parse
from wattbench.report import runs_frame, table_of


@pytest.fixture
def run_benchmark(comfyui, tiny_models, hundred_watts, workspace_folder):
    """A function that runs the node on the tiny sdxl; keywords change its inputs."""
    from wattbench.nodes.benchmark import WattBenchBenchmark

    def run(architecture="sdxl", **changes):
        models = tiny_models(architecture)
        inputs = {
            "model": models.model,
            "clip": models.clip,
            "vae": models.vae,
            "positive": "a moth",
            "negative": "",
            "width": 64,
            "height": 64,
            "batch_size": 1,
            "seed": 10,
            "steps": 2,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "warmup_runs": 1,
            "repeats": 2,
            "idle_seconds": 0.2,
            "meter": hundred_watts,
        }
        return WattBenchBenchmark.execute(**{**inputs, **changes}).result

    return run


def journal_of(workspace_folder):
    return parse((workspace_folder / "wattbench" / "journal.jsonl").read_text("utf-8"))


def test_a_latent_of_larger_cells(run_benchmark):
    """FLUX.2's have 16 pixels a side, so that 72 pixels would become 64."""
    images, runs = run_benchmark("flux2_klein", warmup_runs=0, repeats=1, idle_seconds=0.0, cfg=1.0)
    assert images.shape == (1, 64, 64, 3)
    (run,) = runs
    assert run.error == ""
    assert run.samplings[0].forwards[0].shape == (1, 128, 4, 4)
    with pytest.raises(ValueError, match="multiples of 16, they are 72 and 64"):
        run_benchmark("flux2_klein", width=72)


def test_runs_of_a_benchmark(run_benchmark, workspace_folder):
    images, runs = run_benchmark()
    assert images.shape == (2, 64, 64, 3)
    assert not torch.equal(images[0], images[1])
    assert [(run.is_warmup, run.repeat, run.seed) for run in runs] == [
        (True, 0, 12),
        (False, 0, 10),
        (False, 1, 11),
    ]
    assert tuple(journal_of(workspace_folder)) == runs
    for run in runs:
        assert run.error == ""
        assert {phase.name for phase in run.phases} == {"load", "text_encode", "denoise", "decode"}
        assert run.wall_time_s >= sum(phase.duration_s for phase in run.phases)
        assert run.energy.energy_j == pytest.approx(100 * run.energy.duration_s, rel=0.02)
        assert run.condition.weights == "synthetic"
    for run in runs[1:]:
        assert run.idle_power_before_w == pytest.approx(100, rel=0.05)
        assert run.idle_power_after_w == pytest.approx(100, rel=0.05)
        assert run.idle_power_w == pytest.approx(100, rel=0.05)
    assert runs[0].idle_power_w is None
    assert "no temperature" in runs[1].board.flags[-1]


def test_noise_levels_of_a_scheduler_node(run_benchmark, tiny_models):
    """With the levels of ``normal`` the picture is that of ``normal``, bit for bit."""
    from comfy.samplers import calculate_sigmas

    sampling = tiny_models().model.get_model_object("model_sampling")
    sigmas = calculate_sigmas(sampling, "normal", 3)
    once = {"warmup_runs": 0, "repeats": 1, "idle_seconds": 0.0}
    expected, _ = run_benchmark(steps=3, **once)
    images, (run,) = run_benchmark(steps=20, scheduler="karras", sigmas=sigmas, **once)
    assert torch.equal(images, expected)
    assert (run.condition.steps, run.condition.sampler) == (3, "euler")
    assert run.condition.scheduler.startswith("sigmas ")
    assert [sampling.steps_made for sampling in run.samplings] == [3]
    (_, (other,)) = run_benchmark(sigmas=calculate_sigmas(sampling, "simple", 3), **once)
    assert other.condition.scheduler != run.condition.scheduler


@pytest.mark.parametrize(
    "levels", [[1.0], [1.0, 1.0], [0.5, 1.0], [float("nan"), 0.0], [[1.0, 0.0]]]
)
def test_noise_levels_that_are_none_are_refused(run_benchmark, levels):
    with pytest.raises(ValueError, match="connect the output of a scheduler node"):
        run_benchmark(sigmas=torch.tensor(levels))


def test_idle_power_of_zero_seconds_is_blank(run_benchmark):
    _, runs = run_benchmark(warmup_runs=0, repeats=1, idle_seconds=0, max_warmup_seconds=0)
    assert runs[0].idle_power_w is None
    # ComfyUI may have warned of something else meanwhile.
    assert not [flag for flag in runs[0].board.flags if "idle" in flag]


def test_what_was_measured_before_a_cancellation_has_its_first_idle_power(
    run_benchmark, workspace_folder, monkeypatch
):
    """The idle power after the repeats is a line of its own, which is then not written."""
    from wattbench.measure.recording.instrument import Instrument

    measure, calls = Instrument.idle_power, []

    def cancelled_after(self, seconds, pause):
        calls.append(seconds)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(self, seconds, pause)

    monkeypatch.setattr(Instrument, "idle_power", cancelled_after)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(warmup_runs=0, repeats=1)
    (run,) = journal_of(workspace_folder)
    assert run.idle_power_w == run.idle_power_before_w == pytest.approx(100, rel=0.05)
    assert run.idle_power_after_w is None


def test_a_cool_down_comes_first_and_can_be_cancelled(run_benchmark):
    import comfy.model_management as management

    threading.Timer(0.3, management.interrupt_current_processing).start()
    began_s = time.perf_counter()
    with pytest.raises(management.InterruptProcessingException):
        run_benchmark(cooldown_seconds=300)
    assert time.perf_counter() - began_s < 300


def test_the_picture_is_the_core_pictures(comfyui, run_benchmark, tiny_models):
    images, _ = run_benchmark(warmup_runs=0, repeats=1)
    models = tiny_models()
    encode = comfyui.CLIPTextEncode().encode
    (latent,) = comfyui.EmptyLatentImage().generate(64, 64, 1)
    (samples,) = comfyui.KSampler().sample(
        models.model, 10, 2, 7.0, "euler", "normal",
        encode(models.clip, "a moth")[0], encode(models.clip, "")[0], latent,
    )  # fmt: skip
    (expected,) = comfyui.VAEDecode().decode(models.vae, samples)
    assert torch.equal(images, expected)


def test_a_size_that_comfyui_would_round_is_refused(run_benchmark):
    with pytest.raises(ValueError, match="multiples of 8, they are 65 and 64"):
        run_benchmark(width=65)


def test_a_failing_repeat_is_a_row_and_not_the_end(run_benchmark, tiny_models, monkeypatch):
    """The second decode runs out of memory, as torch reports it."""
    vae, calls = tiny_models().vae, []
    decode = vae.decode

    def failing(samples):
        calls.append(samples)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")
        return decode(samples)

    monkeypatch.setattr(vae, "decode", failing)
    images, runs = run_benchmark(warmup_runs=0, repeats=3)
    assert [run.error for run in runs] == [
        "",
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 3.00 GiB",
        "",
    ]
    assert len(images) == 2


def test_a_picture_that_is_not_finite_is_a_failure(run_benchmark, tiny_models, monkeypatch):
    vae = tiny_models().vae
    monkeypatch.setattr(vae, "decode", lambda samples: torch.full((1, 64, 64, 3), torch.nan))
    images, runs = run_benchmark(warmup_runs=0, repeats=1)
    assert "NaN" in runs[0].error
    assert type(images).__name__ == "ExecutionBlocker"


def test_a_black_picture_is_marked_without_a_guard(run_benchmark, tiny_models, monkeypatch):
    monkeypatch.setattr(tiny_models().vae, "process_output", lambda image: image.zero_())
    _, runs = run_benchmark(repeats=1)
    assert {run.picture.fault for run in runs} == {"the picture is black"}
    table = table_of(runs_frame(runs))
    assert "[broken picture]" in table.rows[0][0]
    assert any("1 of 1 pictures" in note for note in table.notes)


def test_cancelling_keeps_what_was_measured(
    run_benchmark, workspace_folder, tiny_models, monkeypatch
):
    import comfy.model_management as management

    vae, calls = tiny_models().vae, []
    decode = vae.decode

    def cancelled_during_the_second(samples):
        calls.append(samples)
        if len(calls) == 2:
            management.interrupt_current_processing(True)
        return decode(samples)

    shown = []
    monkeypatch.setattr(
        "wattbench.hosts.comfyui.host.ComfyUIHost.show", lambda self, text: shown.append(text)
    )
    monkeypatch.setattr(vae, "decode", cancelled_during_the_second)
    with pytest.raises(management.InterruptProcessingException):
        run_benchmark(warmup_runs=0, repeats=5)
    assert [run.repeat for run in journal_of(workspace_folder)] == [0]
    assert shown[-1] == "1 runs in the journal"


def test_visit_comes_from_the_batch(run_benchmark, monkeypatch):
    monkeypatch.setenv("WATTBENCH_VISIT", "3")
    _, runs = run_benchmark(warmup_runs=0, repeats=1)
    assert runs[0].visit == 3


def test_without_a_batch_every_process_is_a_visit(run_benchmark, monkeypatch):
    from wattbench.processes.visit import LOADED_AT_S

    monkeypatch.delenv("WATTBENCH_VISIT", raising=False)
    _, runs = run_benchmark(warmup_runs=0, repeats=2)
    assert {run.visit for run in runs} == {LOADED_AT_S}


def test_no_meter_leaves_energy_blank(run_benchmark, monkeypatch):
    monkeypatch.setenv("WATTBENCH_METER", "")
    monkeypatch.setattr("wattbench.measure.recording.reader.open_meter", _no_meter)
    _, runs = run_benchmark(warmup_runs=0, repeats=1, meter="auto")
    assert runs[0].energy is None
    assert runs[0].energy_note == "no meter here; plug one in"


def _no_meter(spec, device):
    from wattbench.measure.meters import MeterUnavailableError

    raise MeterUnavailableError("no meter here", "plug one in")


def test_a_benchmark_is_never_taken_from_the_cache(comfyui):
    from wattbench.nodes.benchmark import WattBenchBenchmark

    assert WattBenchBenchmark.fingerprint_inputs() != WattBenchBenchmark.fingerprint_inputs()


def test_runs_go_to_the_users_folder_where_the_output_folder_is_unwritable(
    run_benchmark, workspace_folder, monkeypatch, caplog
):
    import folder_paths

    monkeypatch.setattr(folder_paths, "user_directory", str(workspace_folder.parent / "user"))
    workspace_folder.mkdir(parents=True)
    (workspace_folder / "wattbench").write_text("a file, where a folder should be")
    _, runs = run_benchmark(warmup_runs=0, repeats=1)
    fallback = workspace_folder.parent / "user" / "wattbench" / "journal.jsonl"
    assert tuple(parse(fallback.read_text("utf-8"))) == runs
    assert "cannot write" in caplog.text


@pytest.mark.parametrize(
    ("side", "is_refused"),
    [(0, False), (8, True), (16, False), (65, True), (16384, False), (16392, True)],
)
def test_a_size_that_cannot_be_is_refused_before_anything_runs(comfyui, side, is_refused):
    from wattbench.nodes.benchmark import WattBenchBenchmark

    for given in ({"width": side}, {"height": side}):
        answer = WattBenchBenchmark.validate_inputs(**given)
        assert (answer is not True) == is_refused
