"""One generation of Forge, measured by the way."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest
import torch

from .conftest import between_ticks, script_of

ENCODED = ("text_encode", "text_encode")
"""The negative prompt and the prompt."""


def phases(run):
    return [phase.name for phase in run.phases if phase.name != "load"]


def test_it_is_one_run_with_all_that_was_done(any_forge, counted):
    any_forge.generate({"prompt": "a", "negative_prompt": "b"}, measure=False)
    seen = counted(any_forge.unet)
    any_forge.generate({"steps": 4})
    (run,) = any_forge.runs
    (sampling,) = run.samplings
    (denoise,) = [phase for phase in run.phases if phase.name == "denoise"]
    assert phases(run) == [*ENCODED, "denoise", "decode"]
    assert (sampling.steps, sampling.steps_made, len(denoise.step_ends_s)) == (4, 4, 4)
    assert (sampling.nfe, denoise.nfe) == (seen.calls, seen.calls) == (4, 4)
    (forwards,) = sampling.forwards
    assert forwards.call_count * forwards.shape[0] == seen.rows
    assert (forwards.shape, forwards.token_count) == ((2, 4, 8, 8), 77)
    assert (sampling.architecture, sampling.sampler, sampling.guidance) == (
        "sd15",
        "euler",
        "cfg 7",
    )
    condition = run.condition
    assert (condition.model, condition.scheduler, condition.cfg) == ("a.safetensors", "normal", 7)
    assert (condition.width_px, condition.height_px, condition.batch_size) == (64, 64, 1)
    assert (condition.vae, condition.text_encoder) == ("AutoencoderKL fp32", "clip_l fp16")
    assert (run.seed, run.error, run.not_counted) == (5, "", "")
    any_forge.assert_untouched()


def test_its_joules_are_those_of_the_counter_over_its_phases(forge):
    """Whole ticks within phases are theirs; of those at their borders a part, at most all."""
    forge.generate()
    (run,) = forge.runs
    compute = [phase for phase in run.phases if phase.name in ("text_encode", "denoise", "decode")]
    least_j, most_j = between_ticks(run.trace.counter, compute)
    assert least_j <= run.energy.energy_j <= most_j
    assert run.energy.duration_s == pytest.approx(sum(phase.duration_s for phase in compute))


def test_the_picture_is_the_same_with_and_without_us(any_forge):
    bare = any_forge.generate(measure=False).images[0]
    measured = any_forge.generate().images[0]
    assert measured.tobytes() == bare.tobytes()
    (run,) = any_forge.runs
    assert run.picture.sha256 == hashlib.sha256(np.asarray(bare).tobytes()).hexdigest()


def test_branches_are_told_apart(any_forge):
    any_forge.generate()
    environment = any_forge.runs[0].environment
    assert (environment.host, environment.host_version) in [
        ("Forge", "2.0.1v1.10.1"),
        ("Forge Neo", "neo 2.22"),
    ]


@pytest.mark.parametrize("prompt", ["a cat", "a dog"])
def test_what_forge_has_cached_was_not_encoded_for_nothing(forge, prompt):
    """Whole or in part: the negative prompt is the same."""
    forge.generate()
    forge.generate({"prompt": prompt})
    first, second = forge.runs
    assert first.energy is not None
    assert first.energy_note == second.energy_note.partition("; ")[2].partition("; ")[2]
    assert second.energy is None
    assert second.energy_note.startswith("a part of text_encode came from Forge's cache")
    assert "no energy per image: text_encode not measured" in second.energy_note
    assert phases(second) == ["denoise", "decode"]


def test_batches_are_samplings_of_one_run(forge):
    forge.generate({"batch_size": 2, "n_iter": 3})
    (run,) = forge.runs
    assert [sampling.batch_size for sampling in run.samplings] == [2, 2, 2]
    assert (run.condition.batch_size, run.condition.steps) == (6, 9)
    assert phases(run) == [*ENCODED, *["denoise", "decode"] * 3]


def test_pictures_tell_what_they_cost_and_of_which_run(forge):
    forge.generate({"n_iter": 2})
    (run,) = forge.runs
    (_, first), (_, second) = forge.processing.saved
    joules = float(second.split("WattBench J/img: ")[1].split(",")[0])
    assert joules == pytest.approx(run.energy.energy_j / 2, rel=1e-4)
    assert f"WattBench run: {run.run_id}" in first
    assert "WattBench s/img: " in first
    assert "WattBench meter: estimate" in first


def test_pictures_tell_nothing_where_that_is_switched_off(forge):
    forge.shared.opts.data["wattbench_png"] = False
    forge.generate()
    assert "WattBench" not in forge.processing.saved[0][1]
    assert len(forge.runs) == 1


def test_a_second_pass_is_a_sampling_of_its_own(forge):
    forge.generate({"enable_hr": True})
    (run,) = forge.runs
    assert [sampling.width_px for sampling in run.samplings] == [64, 128]
    assert [sampling.guidance for sampling in run.samplings] == ["cfg 7", "cfg 1"]
    assert (run.condition.width_px, run.condition.guidance) == (128, "cfg 7 + cfg 1")


def test_work_that_no_phase_is_for_leaves_joules_blank(forge, monkeypatch):
    monkeypatch.setattr("wattbench.measure.recording.runs.LEAST_SHARE", 0)
    forge.generate({"enable_hr": True, "latent_upscale": False, "restores_faces": True})
    (run,) = forge.runs
    assert run.energy is None
    told = sorted(part.rpartition(" (")[0] for part in run.unmeasured.split(", "))
    assert told == ["VAE encoding", "restoring faces", "upscaling"]
    assert f"nobody measured {run.unmeasured}" in run.energy_note
    assert phases(run).count("decode") == 2


def test_a_refiner_is_the_sampling_of_another_model(forge):
    refiner = {"refiner_checkpoint": "models/b.safetensors", "refiner_switch_at": 0.5}
    forge.generate({"steps": 4, **refiner})
    (run,) = forge.runs
    first, second = run.samplings
    assert (first.model, second.model) == ("a.safetensors", "b.safetensors")
    assert (first.steps, first.steps_made, first.nfe) == (2, 2, 2)
    assert (second.steps, second.steps_made, second.nfe) == (2, 2, 2)
    assert run.condition.model == "a.safetensors + b.safetensors"
    assert run.condition.steps == 4
    forge.assert_untouched()


def test_a_sampler_may_evaluate_more_often_than_it_steps(forge):
    forge.generate({"sampler_name": "sample_heun"})
    (sampling,) = forge.runs[0].samplings
    assert (sampling.sampler, sampling.steps_made, sampling.nfe) == ("heun", 3, 6)


def test_a_schedule_may_merge_steps(forge):
    forge.generate({"steps": 9, "merged_steps": 7})
    (sampling,) = forge.runs[0].samplings
    assert (sampling.steps, sampling.steps_made) == (7, 7)


def test_without_guidance_a_row_is_a_picture(forge):
    forge.generate({"cfg_scale": 1})
    assert forge.runs[0].samplings[0].forwards[0].shape[0] == 1


def test_controlnets_are_counted_and_timed(forge):
    class Control:
        previous_controlnet = None

    first, second = Control(), Control()
    second.previous_controlnet = first

    def control(self, p, *args, **kwargs):
        p.sd_model.forge_objects.unet.controlnet_linked_list = second

    forge.runner.alwayson_scripts += (script_of(process_before_every_sampling=control)(),)
    forge.generate()
    (sampling,) = forge.runs[0].samplings
    assert sampling.forwards[0].control_count == 2
    assert sampling.control_time_s >= 0


def test_what_other_scripts_make_within_it_is_part_of_it(make_forge):
    def again(self, p, pp, *args):
        if not getattr(p, "is_inner", False):
            inner = forge.processing_of({"is_inner": True, "steps": 2, "prompt": "a face"})
            forge.processing.process_images(inner)

    forge = make_forge(others=[script_of(postprocess_image=again)])
    forge.generate()
    (run,) = forge.runs
    assert [sampling.steps for sampling in run.samplings] == [3, 2]
    assert phases(run) == [*ENCODED, "denoise", "decode", "text_encode", "denoise", "decode"]
    forge.assert_untouched()


def test_loading_is_no_part_of_what_it_is_for(forge):
    forge.generate()
    names = [phase.name for phase in forge.runs[0].phases]
    assert names[:3] == ["load", "load", "text_encode"]
    assert names[names.index("denoise") - 1] == names[names.index("decode") - 1] == "load"


def test_a_tiled_decoding_is_one(forge):
    forge.generate(measure=False)
    forge.sd_models.model_data.sd_model.forge_objects.vae.is_tiled = True
    forge.generate()
    assert phases(forge.runs[0]).count("decode") == 1


def test_previews_of_another_thread_are_not_ours(make_forge):
    def preview(self, p, *args, **kwargs):
        vae = p.sd_model.forge_objects.vae
        thread = threading.Thread(target=vae.decode, args=(torch.zeros(1, 4, 8, 8),))
        thread.start()
        thread.join()

    forge = make_forge(others=[script_of(process_before_every_sampling=preview)])
    forge.generate()
    assert phases(forge.runs[0]).count("decode") == 1


def test_previews_of_the_page_are_told(forge):
    forge.generate({"is_api": True})
    forge.generate({"is_api": False})
    over_api, by_page = (run.condition.optimizations for run in forge.runs)
    assert over_api == "--vae-in-fp32"
    assert by_page == "--vae-in-fp32, live preview Approx NN"


def test_patches_of_a_model_are_told(make_forge):
    def patch(self, p, *args, **kwargs):
        unet = p.sd_model.forge_objects.unet
        unet.lora_patches = {"a": 1}
        unet.model_options["sampler_post_cfg_function"] = [len]
        unet.model_options["transformer_options"]["patches"] = {"attn1_patch": [len]}

    forge = make_forge(others=[script_of(process_before_every_sampling=patch)])
    forge.generate()
    told = forge.runs[0].condition.optimizations
    assert told.startswith("patched weights, sampler_post_cfg_function len, attn1_patch len")


def test_a_choice_is_measured_even_where_nothing_else_is(forge):
    forge.generate(measure=False)
    assert forge.runs == ()
    forge.generate(measure=False, attention="sdpa")
    assert forge.runs[0].condition.attention == "sdpa"


def test_the_weight_format_is_what_most_bytes_of_the_layers_are(forge):
    """bitsandbytes and GGUF keep it beside a parameter, as Forge's loaders do."""
    from wattbench.hosts.forge.describe import weight_format

    network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    assert weight_format(network) == "fp32"
    assert weight_format(network.half()) == "fp16"
    network[0].weight.quant_type = network[1].weight.quant_type = "nf4"
    assert weight_format(network) == "nf4"
    for layer in network:
        layer.weight.quant_type = None
        layer.weight.gguf_cls = type("Q4_K", (), {})
    assert weight_format(network) == "Q4_K"
