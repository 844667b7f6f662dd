"""Any sampling is measured, on a clone, and joined with the other probes of its prompt."""

import pytest
import torch

from wattbench.measure.journal import parse
from wattbench.measure.report import runs_frame

SAMPLING = {"steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


@pytest.fixture
def probe_nodes(comfyui):
    from wattbench.nodes import probe

    return probe


@pytest.fixture
def in_prompt(comfyui):
    """A context in which nodes are executed, for a prompt of the name given."""
    from comfy_execution.utils import CurrentNodeContext

    return lambda prompt_id: CurrentNodeContext(prompt_id, "1")


def collect(probe_nodes, value, *probes):
    named = {f"probe{index}": probe for index, probe in enumerate(probes)}
    return probe_nodes.WattBenchCollect.execute(value, named).result


def test_a_probed_model_is_measured_by_any_sampler(
    comfyui, probe_nodes, tiny_models, conditioning, hundred_watts, workspace_folder, in_prompt
):
    model = tiny_models().model
    (expected,) = comfyui.KSampler().sample(model, 5, **SAMPLING, **conditioning)
    probed, probe = probe_nodes.WattBenchProbeModel.execute(model, hundred_watts).result
    with in_prompt("first"):
        (latent,) = comfyui.KSampler().sample(probed, 5, **SAMPLING, **conditioning)
        value, (run,) = collect(probe_nodes, latent, probe)
    assert torch.equal(latent["samples"], expected["samples"])
    assert value is latent
    assert (run.seed, run.condition.steps, run.condition.sampler) == (5, 2, "euler")
    assert [phase.name for phase in run.phases] == ["load", "denoise"]
    assert run.energy is None
    assert "text_encode and decode not measured" in run.energy_note
    journal = workspace_folder / "wattbench" / "journal.jsonl"
    assert parse(journal.read_text("utf-8")) == [run]


def test_only_the_current_prompt_counts(
    comfyui, probe_nodes, tiny_models, conditioning, hundred_watts, workspace_folder, in_prompt
):
    """ComfyUI keeps a probe in its cache: what it saw in an earlier prompt is not this run's."""
    probed, probe = probe_nodes.WattBenchProbeModel.execute(
        tiny_models().model, hundred_watts
    ).result
    for seed, prompt in ((1, "first"), (2, "second")):
        with in_prompt(prompt):
            comfyui.KSampler().sample(probed, seed, **SAMPLING, **conditioning)
            _, (run,) = collect(probe_nodes, None, probe)
        assert run.seed == seed
        assert len([phase for phase in run.phases if phase.name == "denoise"]) == 1


def test_a_phase_of_which_a_part_was_cached_is_blank(
    comfyui, probe_nodes, tiny_models, conditioning, hundred_watts, workspace_folder, in_prompt
):
    """One of two samplers ran in the second prompt: its time is not that of denoising."""
    probed = [
        probe_nodes.WattBenchProbeModel.execute(tiny_models().model, hundred_watts).result
        for _ in range(2)
    ]
    phases = []
    for prompt, ran in (("first", probed), ("second", probed[1:])):
        with in_prompt(prompt):
            for model, _ in ran:
                comfyui.KSampler().sample(model, 1, **SAMPLING, **conditioning)
            _, (run,) = collect(probe_nodes, None, *(probe for _, probe in probed))
        phases.append([phase.name for phase in run.phases])
    assert phases == [["load", "denoise", "load", "denoise"], ["load"]]
    assert run.energy is None
    assert runs_frame([run])["it_per_s"].isna().all()


def test_nothing_seen_is_a_clear_error(probe_nodes, tiny_models, workspace_folder, in_prompt):
    _, probe = probe_nodes.WattBenchProbeModel.execute(tiny_models().model).result
    with in_prompt("first"), pytest.raises(ValueError, match=r"cache.*Change the seed"):
        collect(probe_nodes, None, probe)


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
