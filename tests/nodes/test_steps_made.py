"""Steps asked for and steps made, against callbacks and evaluations that were counted elsewhere."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wattbench.report import runs_frame
from wattbench.stats import estimate

POWER_W = 100.0
"""Of the replayed board, whose limit it is."""

MODEL = {
    "m": {
        "class_type": "WattBenchSyntheticModel",
        "inputs": {"architecture": "sd15", "size": "tiny", "dtype": "fp32", "seed": 0},
    },
    "p": {
        "class_type": "WattBenchProbeModel",
        "inputs": {"model": ["m", 0], "meter": "auto"},
    },
    "t": {
        "class_type": "WattBenchTextEncode",
        "inputs": {"clip": ["m", 1], "text": "a moth", "meter": "auto"},
    },
    "l": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1},
    },
    "k": {
        "class_type": "KSampler",
        "inputs": {
            **{"model": ["p", 0], "positive": ["t", 0], "negative": ["t", 0]},
            **{"latent_image": ["l", 0], "seed": 1, "steps": 2, "cfg": 7.0, "denoise": 1.0},
            **{"sampler_name": "euler", "scheduler": "normal"},
        },
    },
    "d": {
        "class_type": "WattBenchVAEDecode",
        "inputs": {"samples": ["k", 0], "vae": ["m", 2], "meter": "auto"},
    },
    "c": {
        "class_type": "WattBenchCollect",
        "inputs": {
            "value": ["d", 0],
            **{"probes.probe0": ["p", 1], "probes.probe1": ["t", 1], "probes.probe2": ["d", 1]},
        },
    },
    "x": {"class_type": "PreviewImage", "inputs": {"images": ["c", 0]}},
}


def graph_of(batch_size=1, **sampling):
    """Encode, a probed sampling and decode, as one run."""
    graph = copy.deepcopy(MODEL)
    graph["l"]["inputs"]["batch_size"] = batch_size
    graph["k"]["inputs"].update(sampling)
    return graph


@pytest.fixture
def callbacks(comfyui, monkeypatch):
    """Steps that ComfyUI's own callback of a sampler node was told of."""
    import latent_preview

    calls = []
    original = latent_preview.prepare_callback

    def prepare(*args, **kw):
        callback = original(*args, **kw)

        def call(*step):
            calls.append(step[0])
            return callback(*step)

        return call

    monkeypatch.setattr(latent_preview, "prepare_callback", prepare)
    return calls


@pytest.fixture
def evaluations(comfyui, monkeypatch):
    """One entry for each time that a guider was asked for the noise."""
    import comfy.samplers

    calls = []
    original = comfy.samplers.CFGGuider.__call__

    def counting(self, *args, **kw):
        calls.append(args)
        return original(self, *args, **kw)

    monkeypatch.setattr(comfy.samplers.CFGGuider, "__call__", counting)
    return calls


@pytest.mark.parametrize(("asked", "made"), [(38, 39), (70, 72)])
def test_ddim_uniform_makes_more_steps_than_were_asked_for(execute, callbacks, asked, made):
    runs = execute(graph_of(steps=asked, scheduler="ddim_uniform"))
    [row] = runs_frame(runs).to_dict("records")
    assert (row["steps"], row["steps_made"]) == (asked, made)
    assert len(callbacks) == made
    assert row["it_per_s"] == pytest.approx(made / row["denoise_time_s"])
    assert row["j_per_step"] == pytest.approx(row["denoise_pooled_j"] / made)
    assert row["scheduler"] == "ddim_uniform"


@pytest.mark.parametrize("steps", [3, 7])
def test_dpm_fast_calls_back_less_often_than_it_was_asked_for(
    execute, callbacks, evaluations, steps
):
    runs = execute(graph_of(steps=steps, sampler_name="dpm_fast"))
    [row] = runs_frame(runs).to_dict("records")
    assert row["steps"] == steps
    assert row["steps_made"] == len(callbacks) < steps
    assert row["nfe"] == len(evaluations)
    assert row["it_per_s"] == pytest.approx(len(callbacks) / row["denoise_time_s"])


def test_dpm_adaptive_chooses_its_own_number(execute, callbacks, evaluations):
    runs = execute(graph_of(steps=3, sampler_name="dpm_adaptive"))
    [row] = runs_frame(runs).to_dict("records")
    assert (row["steps"], row["steps_made"]) == (3, len(callbacks))
    assert row["nfe"] == len(evaluations) > 3
    assert row["work"] == "adaptive evaluations of 2x4x8x8, 77 tokens"


def test_the_steps_of_a_part_are_those_of_the_part(execute, callbacks):
    """KSamplerAdvanced from step 1 to 3 of 5; an end far away is the last step."""
    graph = graph_of(steps=5, noise_seed=1, start_at_step=1, end_at_step=3)
    graph["k"]["class_type"] = "KSamplerAdvanced"
    graph["k"]["inputs"].update(add_noise="enable", return_with_leftover_noise="disable")
    for end, made in ((3, 2), (10000, 4)):
        callbacks.clear()
        graph["k"]["inputs"]["end_at_step"] = end
        [row] = runs_frame(execute(graph)).to_dict("records")
        assert row["steps"] == row["steps_made"] == len(callbacks) == made


@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sampler=st.sampled_from(["euler", "heun", "dpmpp_2m", "dpm_fast", "uni_pc", "lms", "ddim"]),
    scheduler=st.sampled_from(["normal", "karras", "ddim_uniform", "beta", "sgm_uniform"]),
    steps=st.integers(2, 6),
    batch_size=st.integers(1, 3),
    prompts=st.integers(1, 2),
)
def test_a_row_keeps_its_invariants_whatever_is_sampled(
    execute, callbacks, evaluations, sampler, scheduler, steps, batch_size, prompts
):
    runs = []
    for seed in range(prompts):
        callbacks.clear()
        evaluations.clear()
        asked = {"sampler_name": sampler, "scheduler": scheduler, "steps": steps}
        runs += execute(graph_of(batch_size, seed=seed, **asked))
        row = runs_frame(runs).to_dict("records")[-1]
        assert (row["steps_made"], row["nfe"]) == (len(callbacks), len(evaluations))
        assert row["steps"] == steps
    assert len(runs) == prompts
    frame = runs_frame(runs)
    assert frame["condition_id"].nunique() == 1
    for row, run in zip(frame.to_dict("records"), runs, strict=True):
        parts = ("text_encode", "denoise", "decode")
        seconds = sum(row[f"{part}_time_s"] for part in parts)
        assert row["batch_size"] == batch_size
        assert seconds + row["load_time_s"] <= row["wall_time_s"]
        assert row["energy_j"] <= POWER_W * seconds * (1 + 1e-9)
        assert sum(row[f"{part}_energy_j"] for part in parts) == pytest.approx(row["energy_j"])
        assert sum(row[f"{part}_pooled_j"] for part in parts) == pytest.approx(row["energy_j"])
        assert row["it_per_s"] * row["denoise_time_s"] == pytest.approx(row["steps_made"])
        assert row["j_per_step"] * row["steps_made"] == pytest.approx(row["denoise_pooled_j"])
        assert row["j_per_img"] * batch_size == pytest.approx(row["energy_j"])
        assert row["s_per_img"] * batch_size == pytest.approx(seconds)
        assert sum(len(phase.step_ends_s) for phase in run.phases) == row["steps_made"]
    if prompts > 1:
        assert estimate(list(frame["j_per_img"]), "J").n == prompts
