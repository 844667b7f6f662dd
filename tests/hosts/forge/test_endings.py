"""However a generation ends, no hook is left, and what it was stands in the journal."""

from __future__ import annotations

import pytest

from .conftest import script_of


def stop(at_call, what):
    """A script that calls ``what(p)`` when the model is called for the n-th time."""

    def prepare(self, p, *args, **kwargs):
        calls = []

        def hook(*_):
            calls.append(1)
            if len(calls) == at_call:
                what(p)

        handle = p.sd_model.forge_objects.unet.model.diffusion_model.register_forward_hook(hook)
        p.handle = handle

    return script_of(process_before_every_sampling=prepare)


def test_a_cancelled_one_does_not_count(make_forge):
    forge = make_forge(others=[stop(2, lambda p: interrupt())])

    def interrupt():
        forge.shared.state.interrupted = True

    forge.generate({"steps": 5})
    (run,) = forge.runs
    (sampling,) = run.samplings
    assert (sampling.steps, sampling.steps_made) == (5, 2)
    assert run.not_counted == "the user stopped it"
    assert not run.counts
    forge.assert_untouched()


def test_one_that_fails_is_a_row_with_its_reason(make_forge):
    def fail(p):
        raise RuntimeError("out of memory, say")

    forge = make_forge(others=[stop(2, fail)])
    with pytest.raises(RuntimeError, match="say"):
        forge.generate()
    (run,) = forge.runs
    assert run.error == "RuntimeError: out of memory, say"
    assert run.phases == ()
    forge.assert_untouched()


def test_a_model_that_does_not_load_leaves_nothing_behind(forge, monkeypatch):
    def broken(sd, additional_state_dicts=None):
        raise ValueError("the file is cut short")

    monkeypatch.setattr(forge.sd_models, "forge_loader", broken)
    before = forge.attributes()
    with pytest.raises(ValueError, match="cut short"):
        forge.generate()
    assert forge.attributes() == before
    monkeypatch.undo()
    forge.generate()
    assert len(forge.runs) == 1
    forge.assert_untouched()


def test_another_model_leaves_nothing_behind(forge):
    forge.generate()
    forge.sd_models.select("models/b.safetensors")
    forge.generate()
    assert [run.condition.model for run in forge.runs] == ["a.safetensors", "b.safetensors"]
    forge.assert_untouched()


def test_what_was_left_over_ends_with_the_next(forge):
    """A cell of a grid is a copy that nobody closes."""
    left = forge.processing_of()
    forge.runner.before_process(left)
    assert forge.attributes() != forge.before
    forge.generate()
    assert len(forge.runs) == 1
    forge.assert_untouched()


def test_a_hook_that_somebody_put_over_ours_stays(make_forge):
    def cover(self, p, *args, **kwargs):
        common = forge.common
        ours = common.Sampler.callback_state
        common.Sampler.callback_state = lambda self, d: ours(self, d)

    forge = make_forge(others=[script_of(process=cover)])
    import modules.sd_samplers_common as common

    forge.common = common
    forge.generate()
    theirs = common.Sampler.callback_state
    assert theirs.__name__ == "<lambda>"
    (run,) = forge.runs
    forge.generate(measure=False)
    assert forge.runs == (run,)
    assert run.samplings[0].steps_made == 3


def test_without_the_meter_it_is_made_and_says_why(forge):
    p = forge.processing_of(meter="nvml:77")
    assert len(forge.processing.process_images(p).images) == 1
    p.close()
    assert forge.runs == ()
    assert any("not measured, because" in comment for comment in p.comments)
    forge.assert_untouched()


def test_a_journal_that_cannot_be_written_does_not_stop_it(forge, tmp_path, monkeypatch):
    monkeypatch.setattr(type(forge.face.FORGE), "output_folder", lambda self: tmp_path / "file")
    monkeypatch.setattr(type(forge.face.FORGE), "user_folder", lambda self: tmp_path / "file")
    (tmp_path / "file").write_text("no folder")
    p = forge.processing_of()
    assert len(forge.processing.process_images(p).images) == 1
    p.close()
    assert any("not measured" in comment for comment in p.comments)
    forge.assert_untouched()


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"attention": "nonsense"}, "attention"),
        ({"memory_format": "sideways"}, "memory_format"),
        ({"weights": "int3"}, "weights"),
        ({"repeats": 0}, "repeats"),
        ({"repeats": 10001}, "repeats"),
        ({"warmups": -1}, "warmups"),
        ({"idle_s": 600.5}, "idle_s"),
        ({"max_warmup_s": 3601}, "max_warmup_s"),
        ({"cooldown_s": float("nan")}, "cooldown_s"),
        ({"max_error": 1.1}, "max_error"),
        ({"measure": "yes"}, "measure"),
        ({"repeats": True}, "repeats"),
        ({"meter": 3}, "meter"),
    ],
)
def test_what_cannot_be_is_refused_by_name(forge, asked, named):
    with pytest.raises(ValueError, match=f"WattBench: {named} is"):
        forge.generate(**asked)
    forge.assert_untouched()
    forge.generate(repeats=10000, warmups=1000, idle_s=600, max_error=1)
    assert len(forge.runs) == 1


@pytest.mark.parametrize("name", ["/etc/hostname", "../../elsewhere.csv"])
def test_a_recording_is_taken_from_the_output_folder_alone(forge, name):
    p = forge.processing_of(meter=f"replay:{name}")
    forge.processing.process_images(p)
    p.close()
    assert forge.runs == ()
    assert any("is not a file in" in comment for comment in p.comments)
