"""Any sampling is measured, on a clone, and joined with the other probes of its prompt."""

import math

import pytest
import torch

from wattbench.measure.protocol.journal import parse
from wattbench.report import runs_frame

PROMPT = {
    "probe": {"class_type": "WattBenchProbeModel", "inputs": {}},
    "a": {"class_type": "KSampler", "inputs": {"model": ["probe", 0]}},
    "b": {"class_type": "KSampler", "inputs": {"model": ["probe", 0]}},
    "both": {
        "class_type": "LatentComposite",
        "inputs": {"samples_to": ["a", 0], "samples_from": ["b", 0]},
    },
    **{
        name: {
            "class_type": "WattBenchCollect",
            "inputs": {"value": [source, 0], "probes.probe0": ["probe", 1]},
        }
        for name, source in (("collect", "both"), ("only_a", "a"), ("only_b", "b"))
    },
}
SAMPLING = {"steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


@pytest.fixture
def probe_nodes(comfyui):
    from wattbench.nodes import probe

    return probe


@pytest.fixture
def in_prompt(comfyui, probe_nodes, monkeypatch):
    """Contexts in which nodes of :data:`PROMPT` are executed, the prompt's id and theirs given."""
    from comfy_execution.graph import DynamicPrompt
    from comfy_execution.progress import reset_progress_state
    from comfy_execution.utils import CurrentNodeContext

    for node in probe_nodes.NODES:
        monkeypatch.setitem(comfyui.NODE_CLASS_MAPPINGS, node.GET_SCHEMA().node_id, node)

    def enter(prompt_id, node_id):
        reset_progress_state(prompt_id, DynamicPrompt(PROMPT))
        return CurrentNodeContext(prompt_id, node_id)

    yield enter
    reset_progress_state("", DynamicPrompt({}))


@pytest.fixture
def sample(comfyui, conditioning, in_prompt):
    """A function that samples as a node does in a prompt."""

    def sample(prompt_id, node_id, model, seed=1):
        with in_prompt(prompt_id, node_id):
            return comfyui.KSampler().sample(model, seed, **SAMPLING, **conditioning)[0]

    return sample


@pytest.fixture
def collect(probe_nodes, in_prompt, workspace_folder):
    """A function that joins what probes saw of a prompt, as the node ``collect`` or another."""

    def collect(prompt_id, *probes, node_id="collect"):
        named = {f"probe{index}": [probe] for index, probe in enumerate(probes)}
        with in_prompt(prompt_id, node_id):
            _, (run,) = probe_nodes.WattBenchCollect.execute([None], named).result
        return run

    return collect


@pytest.fixture
def probe_model(probe_nodes, tiny_models, hundred_watts):
    """A function that probes the tiny model: its clone and the probe."""
    model = tiny_models().model
    return lambda: probe_nodes.WattBenchProbeModel.execute(model, hundred_watts).result


def phase_names(run):
    return [phase.name for phase in run.phases]


def test_a_probed_model_is_measured_by_any_sampler(
    comfyui, tiny_models, conditioning, probe_model, sample, collect, workspace_folder
):
    model = tiny_models().model
    (expected,) = comfyui.KSampler().sample(model, 5, **SAMPLING, **conditioning)
    probed, probe = probe_model()
    latent = sample("first", "a", probed, seed=5)
    run = collect("first", probe)
    assert torch.equal(latent["samples"], expected["samples"])
    assert (run.seed, run.condition.steps, run.condition.sampler) == (5, 2, "euler")
    assert phase_names(run) == ["load", "denoise"]
    assert run.energy is None
    assert "text_encode, decode not measured" in run.energy_note
    journal = workspace_folder / "wattbench" / "journal.jsonl"
    assert parse(journal.read_text("utf-8")) == [run]


def test_the_table_has_the_energy_of_what_was_probed(probe_model, sample, collect):
    probed, probe = probe_model()
    sample("first", "a", probed)
    (row,) = runs_frame([collect("first", probe)]).to_dict("records")
    assert row["denoise_pooled_j"] == pytest.approx(100 * row["denoise_time_s"], rel=0.01)
    assert row["j_per_step"] == pytest.approx(row["denoise_pooled_j"] / SAMPLING["steps"])
    assert row["energy_meter"].startswith("replay:")
    assert math.isnan(row["j_per_img"])


def test_the_table_says_which_vram_was_in_force_and_why_waiting_is_blank(
    probe_model, sample, collect
):
    model, probe = probe_model()
    sample("first", "a", model)
    row = runs_frame([collect("first", probe)]).iloc[0]
    assert row["dynamic_vram"] == "off"
    assert row["busy_note"] == "the device is the host"
    assert row[["gpu_busy_share", "host_wait_s"]].isna().all()


def test_the_value_goes_through(probe_nodes, in_prompt, probe_model, sample, workspace_folder):
    probed, probe = probe_model()
    latent = sample("first", "a", probed)
    with in_prompt("first", "collect"):
        value, _ = probe_nodes.WattBenchCollect.execute([latent], {"probe0": [probe]}).result
    assert value == [latent]


def test_only_the_current_prompt_counts(probe_model, sample, collect):
    """ComfyUI keeps a probe in its cache: what it saw in an earlier prompt is not this run's."""
    probed, probe = probe_model()
    for seed, prompt in ((1, "first"), (2, "second")):
        sample(prompt, "a", probed, seed)
        run = collect(prompt, probe)
        assert run.seed == seed
        assert phase_names(run) == ["load", "denoise"]


@pytest.mark.parametrize("probe_count", [1, 2])
def test_a_phase_of_which_a_part_was_cached_is_blank(probe_model, sample, collect, probe_count):
    """One of two samplers ran in the second prompt: its time is not that of denoising."""
    probed = [probe_model() for _ in range(probe_count)]
    (first, _), (second, _) = probed[0], probed[-1]
    probes = [probe for _, probe in probed]
    sample("first", "a", first)
    sample("first", "b", second)
    assert phase_names(collect("first", *probes)) == ["load", "denoise", "load", "denoise"]
    sample("second", "b", second)
    run = collect("second", *probes)
    assert phase_names(run) == ["load"]
    assert run.energy_note.startswith("a part of denoise came from ComfyUI's cache")
    assert runs_frame([run])["it_per_s"].isna().all()


def test_only_what_the_value_is_made_of_counts(probe_model, sample, collect):
    """Two samplers of one probed model, each with a Collect Runs of its own."""
    probed, probe = probe_model()
    sample("first", "a", probed, seed=1)
    sample("first", "b", probed, seed=2)
    assert [collect("first", probe, node_id=f"only_{n}").seed for n in "ab"] == [1, 2]
    sample("second", "b", probed, seed=3)
    assert phase_names(collect("second", probe, node_id="only_b")) == ["load", "denoise"]


def test_nothing_seen_is_a_clear_error(probe_model, collect):
    _, probe = probe_model()
    with pytest.raises(ValueError, match=r"cache.*Change the seed"):
        collect("first", probe)


def test_probing_twice_measures_once(
    comfyui, probe_nodes, tiny_models, conditioning, hundred_watts, workspace_folder
):
    once, first = probe_nodes.WattBenchProbeModel.execute(tiny_models().model, hundred_watts).result
    twice, second = probe_nodes.WattBenchProbeModel.execute(once, hundred_watts).result
    comfyui.KSampler().sample(twice, 1, **SAMPLING, **conditioning)
    assert (len(first.observations), len(second.observations)) == (0, 1)


def test_a_cancelled_sampling_leaves_no_observation(
    comfyui, probe_nodes, tiny_models, conditioning, hundred_watts
):
    import comfy.model_management as management

    probed, probe = probe_nodes.WattBenchProbeModel.execute(
        tiny_models().model, hundred_watts
    ).result
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        comfyui.KSampler().sample(probed, 1, **SAMPLING, **conditioning)
    assert probe.observations == []
