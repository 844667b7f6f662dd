"""What holds in every row and every mean, whatever was measured: on a simulated board."""

import io
import random
import re
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import Phase as Stage
from hypothesis import given, settings
from hypothesis import strategies as st

from wattbench.analysis.summary import summarise
from wattbench.measure.energy.attribution import Interval
from wattbench.measure.meters import Meter
from wattbench.measure.recording.instrument import Recording
from wattbench.measure.recording.readings import read_energies
from wattbench.measure.recording.runs import failed_run, measured_run, new_run
from wattbench.measure.recording.samples import Samples, TickError
from wattbench.records import Phase, Trace
from wattbench.report import runs_frame
from wattbench.tables.csv import write_frame

from .made_runs import CONDITION, ENVIRONMENT, sampling_of
from .simulated_board import IDLE_W, POLL_S, TICK_S, Board

GENERATED = (Stage.explicit, Stage.generate)
"""A failing example is not made smaller: that takes minutes."""

LIMIT_W = 350.0
IDLE_S = 0.05
"""Between phases, where nothing runs."""

SLACK_J = 2 * (IDLE_W * TICK_S + LIMIT_W * POLL_S)
"""At each end of a run: rest within the tick there, and how well that tick is timed."""

METHOD = Path(__file__).parent.parent / "docs" / "method.md"

watts = st.floats(IDLE_W, LIMIT_W)
seconds = st.floats(0.02, 0.4)
images = st.fixed_dictionaries(
    {
        "text_encode": st.tuples(seconds, watts),
        "denoise": st.tuples(seconds, watts),
        "decode": st.tuples(seconds, watts),
        "step_count": st.integers(1, 9),
    }
)
fates = st.sampled_from(["counts", "counts", "counts", "warm-up", "failed", "stood still", "blind"])
tables = st.lists(st.tuples(st.integers(0, 2), fates), min_size=1, max_size=8)


class CountingMeter(Meter):
    name, scope = "board:0", "gpu"

    def close(self):
        pass


def recorded(image, seed):
    """What an instrument records of an image on a board that ticks ten times a second."""
    rng = random.Random(seed)
    at_s, intervals, spans = rng.uniform(0.3, 0.4), [], []
    for name in ("text_encode", "denoise", "decode"):
        duration_s, power_w = image[name]
        intervals.append(Interval(name, at_s, at_s + duration_s))
        spans.append((at_s, at_s + duration_s, power_w))
        at_s += duration_s + IDLE_S
    start_s, end_s = intervals[0].start_s, intervals[-1].end_s
    ticks = Board(spans).ticks(start_s, end_s, rng)
    samples = Samples(ticks, [TickError(tick.t_s, POLL_S / 2) for tick in ticks])
    reach_s = ticks[0].t_s, ticks[-1].t_s
    readings, note = read_energies(CountingMeter(), samples, intervals, reach_s)
    denoise_s, step_count = image["denoise"][0], image["step_count"]
    ends = tuple(
        intervals[1].start_s + denoise_s * n / step_count for n in range(1, step_count + 1)
    )
    phases = tuple(
        Phase(
            interval.name,
            interval.start_s - start_s,
            interval.duration_s,
            reading,
            tuple(end - start_s for end in ends) if interval.name == "denoise" else (),
            step_count if interval.name == "denoise" else None,
        )
        for interval, reading in zip(intervals, readings, strict=True)
    )
    moved = tuple(tick._replace(t_s=tick.t_s - start_s) for tick in ticks)
    sampling = replace(
        sampling_of(CONDITION, denoise_s), steps_made=step_count, nfe=step_count, steps=30
    )
    return Recording(
        start_s=start_s,
        end_s=end_s,
        phases=phases,
        energy_note=note,
        samplings=(sampling,),
        trace=Trace(moved, tick_error_s=POLL_S / 2),
    )


def made(image, seed, fate="counts", process=0):
    run = new_run(CONDITION, ENVIRONMENT, seed=seed, visit=process, is_warmup=fate == "warm-up")
    run = replace(run, process_id=str(process))
    run = replace(measured_run(run, [recorded(image, seed)]), idle_power_w=IDLE_W)
    if fate == "failed":
        bare = new_run(run.condition, ENVIRONMENT, seed=seed, visit=process)
        return failed_run(replace(bare, process_id=str(process)), "out of memory")
    if fate == "blind":
        return replace(run, energy=None, energy_note="the meter fell off the bus")
    return replace(run, not_counted="it stood still" if fate == "stood still" else "")


@settings(max_examples=30, deadline=None, derandomize=True, phases=GENERATED)
@given(images, st.integers(0, 2**32))
def test_a_row_contradicts_neither_itself_nor_its_board(image, seed):
    row = runs_frame([made(image, seed)]).iloc[0]
    parts = ("text_encode", "denoise", "decode")
    total_s = sum(image[part][0] for part in parts)
    truth_j = sum(duration_s * power_w for duration_s, power_w in map(image.get, parts))
    assert row["energy_j"] <= LIMIT_W * total_s + SLACK_J
    assert row["energy_j"] == pytest.approx(truth_j, abs=SLACK_J + 2 * IDLE_W * IDLE_S)
    assert sum(row[f"{part}_energy_j"] for part in parts) == pytest.approx(row["energy_j"])
    if "ticks too seldom" in row["energy_note"]:
        assert total_s < 3.01 * 1.05 * TICK_S
        assert all(pd.isna(row[f"{part}_pooled_j"]) for part in parts)
    else:
        assert total_s > 2.99 * 0.95 * TICK_S
        assert sum(row[f"{part}_pooled_j"] for part in parts) == pytest.approx(row["energy_j"])
        assert row["j_per_step"] * image["step_count"] == pytest.approx(row["denoise_pooled_j"])
    assert row["energy_net_j"] == pytest.approx(row["energy_j"] - IDLE_W * total_s)
    assert row["mean_power_w"] * total_s == pytest.approx(row["energy_j"])
    assert row["j_per_img"] * row["batch_size"] == pytest.approx(row["energy_j"])
    assert row["img_per_s"] * row["s_per_img"] == pytest.approx(1.0)
    assert row["img_per_kwh"] * row["j_per_img"] == pytest.approx(3.6e6)
    assert row["steps_made"] == row["nfe"] == image["step_count"]
    assert row["it_per_s"] * image["denoise"][0] == pytest.approx(image["step_count"])
    assert row["wall_time_s"] == pytest.approx(total_s + 2 * IDLE_S)


@settings(max_examples=20, deadline=None, derandomize=True, phases=GENERATED)
@given(images, tables)
def test_means_are_of_the_runs_that_count_and_the_pages_script_makes_them_again(
    tmp_path_factory, image, table
):
    folder = tmp_path_factory.mktemp("table")
    runs = [made(image, seed, fate, process) for seed, (process, fate) in enumerate(table)]
    frame = runs_frame(runs)
    write_frame(frame, folder / "runs.csv")
    summary = summarise(frame).to_dict("records")
    counted = [process for process, fate in table if fate in ("counts", "blind")]
    if not [fate for _, fate in table if fate != "warm-up"]:
        assert summary == []
        return
    [row] = summary
    assert row["n"] == len(counted)
    assert row["failed"] == sum(fate == "failed" for _, fate in table)
    assert row["visits"] == len(set(counted))
    found = [line.split(" ", 2) for line in script_on(folder / "runs.csv")]
    assert [condition for *_, condition in found] == [row["condition"]] * bool(counted)
    for mean, half, _ in found:
        for printed, known in ((mean, row["j_per_img_mean"]), (half, row["j_per_img_ci95"])):
            if pd.isna(known):
                assert printed == "nan"
            else:
                assert float(printed) == pytest.approx(known, rel=1e-5)


def script_on(path):
    """What the Python of docs/method.md prints on a table."""
    (script,) = re.findall(r"```python\n(.*?)```", METHOD.read_text("utf-8"), re.DOTALL)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", ["script", str(path)])
        exec(compile(script, str(METHOD), "exec"), {})
    return printed.getvalue().splitlines()
