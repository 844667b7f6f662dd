"""What one glance gives: numbers on one axis, names that tell conditions apart, plain sentences."""

from dataclasses import replace

import pytest

from wattbench.analysis.analysis import Analysis
from wattbench.analysis.glance import GIB, axis_of

from ..made_runs import CONDITION
from ..report.made_folder import made_runs


def glance(runs):
    return Analysis.of(runs).glance


def test_the_winner_stands_on_the_card(make_run):
    found = glance(made_runs(make_run))
    assert found.labels == ("sdpa", "sage_2", "split")
    assert found.common == "moth.safetensors, 1024x768, batch 2, euler/normal, 30 steps, cfg 7"
    assert found.row == 1
    assert found.verdict[0].startswith("sage_2 takes 16.72 % less energy per image than sdpa (")
    assert found.energy_from == "nvml:0 (counter)"
    energy, time, vram = found.compared
    # 200 W for two images in 0.5 + 10.2 + 1.5 s, the mean of five repeats.
    assert energy.values[0].value == pytest.approx(1220)
    assert time.values[0].value == pytest.approx(6.1)
    assert vram.values[0].value == 10


@pytest.mark.parametrize(
    ("meter", "shown"),
    [
        ("replay:/home/me/trace.csv", "replay:trace.csv (counter)"),
        ("replay:C:\\me\\trace.csv", "replay:trace.csv (counter)"),
        ("replay:trace.csv", "replay:trace.csv (counter)"),
        ("rapl:package", "rapl:package (counter)"),
    ],
)
def test_a_card_that_is_posted_names_no_folder(make_run, meter, shown):
    run = make_run()
    phases = tuple(
        replace(phase, energy=replace(phase.energy, meter=meter)) for phase in run.phases
    )
    assert glance([replace(run, phases=phases)]).energy_from == shown


def test_parts_of_an_image_add_up_to_it(make_run):
    for one in glance(made_runs(make_run)).compared[:2]:
        for parts, value in zip(one.parts, one.values, strict=True):
            assert sum(parts.values()) == pytest.approx(value.value, rel=1e-3)
        assert one.parts_axis.low == 0
        assert one.parts_axis.high >= max(sum(parts.values()) for parts in one.parts)


def test_where_it_goes_is_told_of_energy_else_of_time(make_run):
    run = make_run()
    assert (
        glance([run]).where == "83 % of its energy is denoising; 12 % decoding, 4 % text encoding."
    )
    without = replace(
        run, energy=None, phases=tuple(replace(phase, energy=None) for phase in run.phases)
    )
    assert glance([without]).where.startswith("83 % of its time is denoising; ")
    assert glance([replace(without, phases=run.phases[2:3])]).where == ""


def test_two_that_are_alike_cannot_be_told_apart(make_run):
    other = replace(CONDITION, attention="sage_2")
    runs = [
        make_run(
            f"{condition.attention}{seed}",
            denoise_s=10 + (0.1 if (seed + n) % 2 else -0.1),
            seed=seed,
            condition=condition,
        )
        for seed in range(6)
        for n, condition in enumerate((CONDITION, other))
    ]
    found = glance(runs)
    assert found.verdict[0].startswith("sage_2 and sdpa cannot be told apart: ")
    assert (found.row, found.winners) == (0, ())


def test_what_cannot_be_compared_is_said_with_its_reason(make_run):
    elsewhere = replace(CONDITION, attention="chunked")
    later = {"condition": elsewhere, "started_at": "2026-11-20T10:00:00.000+00:00"}
    runs = [*made_runs(make_run), *(make_run(f"x{n}", seed=n, **later) for n in (0, 1))]
    found = glance(runs)
    assert found.winners == (1,)
    assert found.asides[1:] == ("Not compared: chunked: another environment than the baseline's.",)


def test_a_label_has_what_differs_and_nothing_else(make_run):
    runs = [
        make_run("a"),
        make_run("b", condition=replace(CONDITION, attention="sage_2", steps=8)),
        make_run("c", condition=replace(CONDITION, optimizations="channels_last")),
        make_run("d", condition=replace(CONDITION, vae="other.safetensors")),
    ]
    found = glance(runs)
    assert found.common == "moth.safetensors, 1024x768, batch 2, euler/normal, cfg 7"
    assert found.labels == (
        "30 steps, sdpa, no optimization",
        "8 steps, sage_2, no optimization",
        "30 steps, sdpa, channels_last",
        "30 steps, sdpa, no optimization, VAE other.safetensors",
    )


def test_meters_and_cards_tell_conditions_apart_where_nothing_else_does(make_run):
    run = make_run("a")
    other = replace(run.environment, gpu_name="Other")
    found = glance([run, make_run("b", environment=other), make_run("c", meter="rapl:0")])
    assert len({*found.labels}) == 3
    assert any("gpu_name Other" in label for label in found.labels)
    assert any("meter rapl:0" in label for label in found.labels)


def test_the_memory_of_the_card_is_told_where_it_is_known(make_run):
    run = make_run()
    assert glance([run]).vram_total_bytes is None
    known = replace(run, board=replace(run.board, vram_total_bytes=24 * GIB))
    assert glance([known]).vram_total_bytes == 24 * GIB


def test_nothing_that_counts_has_no_card_or_an_empty_one(make_run):
    assert glance([make_run(is_warmup=True)]) is None
    failed = glance([make_run(error="it broke", phases=(), energy=None, vram=None)])
    assert all(one.values == (None,) and one.axis is None for one in failed.compared)
    assert failed.verdict == ("No run counts, so that there is no result.",)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([1220, 2440], (0, 500, 1000, 1500, 2000, 2500)),
        ([69.9, 100], (0, 20, 40, 60, 80, 100)),
        ([70, 100], (70, 80, 90, 100)),
        ([10, 10], (0, 2, 4, 6, 8, 10)),
        ([0.0031], (0, 0.001, 0.002, 0.003, 0.004)),
        ([-1, 3], (-1, 0, 1, 2, 3)),
    ],
)
def test_axes_have_round_ticks_and_begin_at_zero_unless_values_are_close(values, ticks):
    assert axis_of(values).ticks == pytest.approx(ticks)


@pytest.mark.parametrize("values", [[], [float("nan")], [0.0]])
def test_nothing_to_draw_has_no_axis(values):
    assert axis_of(values) is None
