"""A generation of Forge made again and again by the protocol."""

from __future__ import annotations

import re

import pytest

from wattbench.report.csv import read_runs

from .conftest import script_of


def test_every_repeat_has_its_seed_and_encodes_anew(any_forge, counted):
    any_forge.generate(measure=False)
    seen = counted(any_forge.unet)
    made = any_forge.generate(benchmark=True, repeats=3, warmups=2)
    runs = any_forge.runs
    assert [(run.seed, run.repeat, run.is_warmup) for run in runs] == [
        *((8, 0, True), (9, 1, True)),
        *((5, 0, False), (6, 1, False), (7, 2, False)),
    ]
    assert all("text_encode" in {phase.name for phase in run.phases} for run in runs)
    assert all(run.energy is not None for run in runs)
    assert len({run.condition for run in runs}) == 1
    assert sum(sampling.nfe for run in runs for sampling in run.samplings) == seen.calls == 15
    assert len(made.images) == 3
    assert made.images[0].tobytes() == any_forge.generate(measure=False).images[0].tobytes()
    any_forge.assert_untouched()


def test_its_tables_and_its_card_are_there(forge):
    made = forge.generate(benchmark=True)
    table = read_runs(forge.output / "wattbench" / "runs.csv")
    assert table["host"].tolist() == ["Forge"] * 3
    assert " J/img" in made.comments
    assert ", 2 repeats. " in made.comments
    assert str(forge.output / "wattbench" / "runs.csv") in made.comments
    assert (forge.output / "wattbench" / "report.md").is_file()
    card = forge.face.results.latest_card()
    assert "<table" in card
    assert "a.safetensors" in card
    lead, _, _ = card.partition("<details>")
    assert "Energy per image" in lead
    assert re.search(r"Time per image<br><strong[^>]*>[0-9.]+ s/img</strong>", lead)


def test_forges_own_cache_and_settings_stay_as_they_were(forge):
    kind = forge.processing.StableDiffusionProcessing
    seen = []

    def look(self, p, *args, **kwargs):
        seen.append(forge.shared.opts.data["live_previews_enable"])

    forge.runner.alwayson_scripts += (script_of(process=look)(),)
    forge.generate(benchmark=True)
    assert kind.cached_c == [None, None, None]
    assert seen == [False] * 3
    assert forge.shared.opts.data["live_previews_enable"] is True


def test_batches_and_second_passes_are_repeated_whole(forge):
    made = forge.generate({"batch_size": 2, "n_iter": 2, "enable_hr": True}, benchmark=True)
    assert len(made.images) == 8
    assert [len(run.samplings) for run in forge.runs] == [4, 4, 4]
    assert len({run.picture.sha256 for run in forge.runs}) == 3


def test_a_seed_that_was_left_open_is_drawn_once(forge):
    forge.generate({"seed": -1}, benchmark=True)
    assert [run.seed for run in forge.runs] == [1236, 1234, 1235]


def test_a_run_that_fails_is_a_row_and_the_next_one_begins(make_forge):
    seeds = []

    def fail(self, p, *args, **kwargs):
        seeds.append(p.seed)
        if p.seed == 5:
            p.sd_model.forge_objects.unet.model_options["break"] = len
            p.steps = None

    forge = make_forge(others=[script_of(process=fail)])
    made = forge.generate(benchmark=True)
    failed = [run for run in forge.runs if run.error]
    assert [run.seed for run in failed] == [5]
    assert seeds == [7, 5, 6]
    assert len(made.images) == 1
    assert "2 repeats, 1 failed" in made.comments
    forge.assert_untouched()


def test_where_every_run_fails_the_generation_does(make_forge):
    def fail(self, p, *args, **kwargs):
        p.steps = None

    forge = make_forge(others=[script_of(process=fail)])
    with pytest.raises(RuntimeError, match="every repeat failed"):
        forge.generate(benchmark=True)
    assert [bool(run.error) for run in forge.runs] == [True] * 3
    forge.assert_untouched()


def test_a_cancelled_one_keeps_what_was_measured(make_forge):
    def cancel(self, p, *args, **kwargs):
        if p.seed == 6:
            forge.shared.state.interrupted = True

    forge = make_forge(others=[script_of(process=cancel)])
    made = forge.generate(benchmark=True, repeats=5)
    assert [run.seed for run in forge.runs] == [10, 5]
    assert len(made.images) == 1
    assert "stopped; 2 runs are in" in made.comments
    forge.assert_untouched()


def test_a_meter_that_is_not_there_is_no_benchmark(forge):
    with pytest.raises(RuntimeError, match="NVML"):
        forge.generate(benchmark=True, meter="nvml:77")
    assert forge.runs == ()
    forge.assert_untouched()


def test_a_folder_outside_is_refused(forge):
    forge.shared.opts.data["wattbench_folder"] = "../elsewhere"
    with pytest.raises(ValueError, match="outside of Forge's output folder"):
        forge.generate(benchmark=True)
    forge.shared.opts.data["wattbench_folder"] = "study/one"
    forge.generate(benchmark=True)
    assert (forge.output / "study" / "one" / "runs.csv").is_file()


def test_a_cache_that_is_one_list_is_emptied_too(forge):
    """As in DenOfEquity's branch."""
    from wattbench.hosts.forge.benchmark import again

    p = forge.processing_of({"cond_cache": [["a", 1]]})
    assert again(p, 3).cond_cache == []
    assert p.cond_cache == [["a", 1]]
