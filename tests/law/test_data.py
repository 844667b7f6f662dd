"""Which rows of a table a law is fitted to."""

import pytest

from wattbench import law
from wattbench.analysis import columns as report_frame
from wattbench.law import data


def write(path, table):
    table.to_csv(path, index=False)
    return path


def test_runs_csv_has_the_columns_a_law_needs():
    assert set(data.RUN_COLUMNS) <= set(report_frame.RUN_COLUMNS)


def test_rows_that_are_no_measurements_are_left_out_and_named(published, runs_table, varied):
    table = runs_table(published, varied * 2)
    table.loc[0, "is_warmup"] = True
    table.loc[1, "error"] = "out of memory"
    table.loc[2, "energy_j"] = float("nan")
    table.loc[3, "energy_method"] = "estimated"
    table.loc[4, ["weights", "model"]] = ["synthetic", "synthetic sdxl tiny"]
    table.loc[5, "architecture"] = "sd3"
    found = law.observations(table)
    assert list(found.frame["architecture"]) == ["z_image", "flux"]
    assert [note.split(": ")[1] for note in found.notes] == [
        "warm-up",
        "the run failed",
        "no energy was measured",
        "the energy is estimated or simulated (--allow-unmeasured keeps it)",
        "a tiny synthetic model is not the size that its architecture's formula counts",
        "no FLOP formula for the architecture",
    ]
    everything = law.observations(table, allow_unmeasured=True)
    assert len(everything.frame) == 3
    assert everything.basis == "estimated"


def test_runs_are_read_as_they_ran(published, runs_table):
    table = runs_table(published, [("sdxl", 1024, 20, 7.0), ("z_image", 512, 8, 1.0)])
    table["nfe"] = [39, None]
    table["weight_format"] = ["bf16", "float8_e4m3fn"]
    frame = law.observations(table).frame
    assert list(frame["nfe"]) == [39, 8]
    assert list(frame["calls"]) == [2, 1]
    assert list(frame["dtype"]) == ["fp16", "float8_e4m3fn"]
    assert frame["duration_s"].tolist() == pytest.approx((table["energy_j"] / 250).tolist())


def test_a_run_that_does_not_tell_what_it_was_is_left_out(published, runs_table, varied):
    """As of a custom guider, whose cfg nobody sees: it may call the model once or three times."""
    table = runs_table(published, varied)
    table.loc[0, "cfg"] = float("nan")
    table.loc[1, ["nfe", "steps"]] = float("nan")
    found = law.observations(table)
    assert list(found.frame["architecture"]) == ["z_image", "flux"]
    assert found.notes == ("2 rows left out: its size, steps, batch or cfg is not known",)


def test_energies_of_two_meters_are_not_one_law(tmp_path, published, runs_table, varied):
    table = runs_table(published, varied).assign(energy_meter=["nvml:0"] * 3 + ["rapl:package"])
    with pytest.raises(law.LawDataError, match="several meters: nvml:0, rapl:package; choose one"):
        law.observations(table)
    one = law.read_table(write(tmp_path / "runs.csv", table), ("energy_meter=nvml:0",))
    assert len(law.observations(one).frame) == 3


def test_what_no_law_knows_is_named_and_can_be_chosen(tmp_path, published, runs_table, varied):
    table = runs_table(published, varied).assign(optimizations=[None, None, "compile", "compile"])
    assert law.observations(table).notes == (
        "the rows differ in optimizations, which no law knows: choose with --where",
    )
    path = write(tmp_path / "runs.csv", table)
    for where in ("optimizations=", "optimizations=compile"):
        chosen = law.observations(law.read_table(path, (where,)))
        assert (len(chosen.frame), chosen.notes) == (2, ())


@pytest.mark.parametrize(
    ("share", "note"),
    [
        (0.49, "rows left out: the card waited"),
        (0.5, "the card waited for the host (least"),
        (0.8, ""),
    ],
)
def test_a_card_that_waited_for_its_host_teaches_no_law(share, note, published, runs_table, varied):
    """Where the host dominates, joules are not the work's; every second row is such a one."""
    table = runs_table(published, varied)
    free = law.observations(table).frame
    table["gpu_busy_share"] = [share if n % 2 else 0.9 for n in range(len(table))]
    found = law.observations(table)
    assert len(found.frame) == (len(free) if share >= 0.5 else (len(free) + 1) // 2)
    assert note in "; ".join(found.notes)
    assert ("waited" in "; ".join(found.notes)) is bool(note)
    with pytest.raises(law.LawDataError, match="waited for the host most of the time"):
        law.observations(table.assign(gpu_busy_share=0.2))


def test_the_study_as_observations(study):
    assert set(study["architecture"]) == {"flux", "sd35", "sd2", "qwen_image"}
    guided = study[study["calls"] == 2]
    assert len(guided) == len(study) / 2
    assert set(guided[guided["guidance"] == "sequential"]["architecture"]) == {
        "flux",
        "qwen_image",
    }


@pytest.mark.parametrize(
    ("where", "rows"),
    [(("model=flux",), 80), (("model=flux", "dtype=fp16", "cfg=1", "steps=50.0"), 4)],
)
def test_where_restricts(where, rows):
    assert len(law.read_table(data.STUDY_CSV, where)) == rows


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (("model",), "cannot filter by 'model'"),
        (("color=red",), "one of the columns model, gpu"),
        (("steps=many",), "steps holds numbers"),
        (("model=sdxl",), "no row of"),
    ],
)
def test_where_that_cannot_be_is_refused(where, message):
    with pytest.raises(law.LawDataError, match=message):
        law.read_table(data.STUDY_CSV, where)


def test_tables_that_cannot_be_read_are_refused(tmp_path, study):
    with pytest.raises(law.LawDataError, match="there is no file"):
        law.read_table(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(law.LawDataError, match="not a CSV table"):
        law.read_table(tmp_path / "empty.csv")
    table = law.read_table(data.STUDY_CSV)
    with pytest.raises(law.LawDataError, match=r"neither a runs\.csv"):
        law.observations(table.drop(columns="prompts"))
    with pytest.raises(law.LawDataError, match="no FLOP formula for wan"):
        law.observations(table.assign(model="wan"))
    with pytest.raises(law.LawDataError, match="not positive"):
        law.observations(table.assign(energy_j=0))


def test_nothing_usable_says_why(published, runs_table, varied):
    table = runs_table(published, varied).assign(energy_method="simulated")
    with pytest.raises(law.LawDataError, match="4 rows left out: the energy is estimated"):
        law.observations(table)


def test_a_run_on_no_gpu_is_of_its_cpu(tmp_path, published, runs_table, varied):
    """A CSV gives an empty cell back as a missing one."""
    table = runs_table(published, varied, gpu="").assign(cpu_name="A CPU")
    found = law.observations(law.read_table(write(tmp_path / "runs.csv", table)))
    assert set(found.frame["gpu"]) == {"A CPU"}
    assert law.calibrate(found, published).law.domain.gpu == "A CPU"
    named = law.observations(runs_table(published, varied, gpu="A GPU").assign(cpu_name="A CPU"))
    assert set(named.frame["gpu"]) == {"A GPU"}


NOT_KNOWN = "its size, steps, batch or cfg is not known"
IMPOSSIBLE = "its size, steps, batch or cfg is none that a run can have"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("energy_j", float("inf"), "no energy was measured"),
        ("width_px", float("inf"), NOT_KNOWN),
        ("width_px", 0, IMPOSSIBLE),
        ("height_px", -512, IMPOSSIBLE),
        ("batch_size", 1e6 + 1, IMPOSSIBLE),
        ("nfe", 0, IMPOSSIBLE),
        ("cfg", -0.1, IMPOSSIBLE),
        ("cfg", float("-inf"), NOT_KNOWN),
    ],
)
def test_a_row_with_an_impossible_number_is_left_out(
    published, runs_table, varied, column, value, reason
):
    table = runs_table(published, varied)
    usable = len(data.observations(table).frame)
    table[column] = table[column].astype(float)
    table.loc[table.index[0], column] = value
    found = data.observations(table)
    assert len(found.frame) == usable - 1
    assert f"1 rows left out: {reason}" in found.notes


@pytest.mark.parametrize("column", ["energy_j", "steps", "denoise_time_s", "cfg"])
def test_a_cell_that_is_no_number_is_named(published, runs_table, varied, column):
    table = runs_table(published, varied)
    table[column] = table[column].astype(object)
    table.loc[table.index[0], column] = "many"
    with pytest.raises(data.LawDataError, match=f"{column} has a cell that is no number"):
        data.observations(table)


@pytest.mark.parametrize("value", [float("inf"), -1.0, 0.0])
def test_a_time_that_cannot_be_is_not_measured(published, runs_table, varied, value):
    table = runs_table(published, varied)
    table["denoise_time_s"] = value
    assert data.observations(table).frame["duration_s"].isna().all()


def test_a_card_without_a_name_is_one_card(published, runs_table, varied):
    table = runs_table(published, varied).assign(gpu_name=None, cpu_name=None)
    assert set(data.observations(table).frame["gpu"]) == {"a card without a name"}
