"""Nothing that was measured is lost."""

import copy
import json
import pickle
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from wattbench.measure.protocol import codec
from wattbench.measure.protocol.journal import Journal, dumps, parse, read, with_idle_after
from wattbench.records import (
    SCHEMA_VERSION,
    CounterSample,
    Forwards,
    PowerSample,
    Quality,
    Sampling,
    Trace,
)

OLD = Path(__file__).parents[2] / "data" / "journals"


def test_a_run_comes_back_as_it_was(make_run):
    runs = [make_run("a"), make_run("b", energy=None, energy_note="no meter", phases=())]
    assert parse("".join(dumps(run) + "\n" for run in runs)) == runs


def test_samples_that_are_read_are_equal_to_those_that_were_written(make_run):
    counter = tuple(CounterSample(0.5 * n, 3.0 * n) for n in range(4))
    trace = Trace(counter, (PowerSample(0.0, 2.0),))
    [run] = parse(dumps(make_run("a", trace=trace)))
    found = run.trace
    assert found == trace and trace == found and hash(found) == hash(trace)
    assert found != Trace(counter[:3], trace.power)
    assert (found.counter[1], found.counter[-1], found.counter[1:3]) == (
        counter[1],
        counter[-1],
        counter[1:3],
    )
    assert [sample.energy_j for sample in found.counter] == [0.0, 3.0, 6.0, 9.0]
    assert len(found.power) == 1 and repr(found.power) == repr(trace.power)
    with pytest.raises(IndexError):
        found.counter[4]
    assert found.power != found.counter[:1]
    for copied in (copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
        assert copied == run
    assert dumps(run) == dumps(make_run("a", trace=trace))


def test_a_sample_that_is_read_takes_its_two_numbers_and_no_more(make_run):
    """A hundred thousand runs are held at once; each has thousands of samples."""
    count = 20_000
    trace = Trace(power=tuple(PowerSample(0.01 * n, 200.0 + n) for n in range(count)))
    line = dumps(make_run("a", trace=trace)).encode()
    read(line)
    tracemalloc.start()
    try:
        contents = read(line)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(contents.runs[0].trace.power) == count
    assert 16 * count <= held_bytes < 20 * count


def test_samplings_come_back_as_they_were(make_run):
    forwards = (Forwards(4, (2, 4, 8, 8), 77), Forwards(1, (1, 4, 8, 8), None, 2))
    sampling = Sampling(
        "sdxl", "moth", "euler", "CFGGuider", (("cfg", 7.0),), 64, 64, 1, 1, 4, 4, 4, forwards
    )
    run = make_run("a", samplings=(sampling, sampling), process_id="p", job_id="j")
    assert parse(dumps(run)) == [run]


def test_runs_of_version_1_are_read():
    """A journal as WattBench wrote it before processes and samplings were told."""
    runs = parse((OLD / "version_1.jsonl").read_text("utf-8"))
    assert [(run.is_warmup, run.seed, run.condition.steps) for run in runs] == [
        (True, 12, 2),
        (False, 10, 2),
        (False, 11, 2),
    ]
    assert {run.process_id for run in runs} == {f"visit {runs[0].visit}"}
    assert {(run.job_id, run.samplings, run.condition.work) for run in runs} == {("", (), "")}
    assert all(run.idle_power_after_w is not None for run in runs[1:])
    assert parse("\n".join(map(dumps, runs))) == runs


def test_each_run_is_on_the_disk_when_append_returns(tmp_path, make_run):
    journal = Journal(tmp_path / "deep" / "journal.jsonl")
    journal.append(make_run("a"))
    assert [run.run_id for run in parse(journal.path.read_text("utf-8"))] == ["a"]
    journal.append(make_run("b"))
    assert [run.run_id for run in parse(journal.path.read_text("utf-8"))] == ["a", "b"]


@pytest.mark.parametrize("length", [1, 10, 50, 500])
def test_a_line_cut_short_by_a_crash_costs_that_run_alone(tmp_path, make_run, length, caplog):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(make_run("a"))
    with journal.path.open("a", encoding="utf-8") as file:
        file.write(dumps(make_run("b"))[:length])
    assert [run.run_id for run in parse(journal.path.read_text("utf-8"))] == ["a"]
    journal.append(make_run("c"))
    journal.append_idle_after([make_run("c")], 130.0)
    runs = parse(journal.path.read_text("utf-8"))
    assert [(run.run_id, run.idle_power_after_w) for run in runs] == [("a", None), ("c", 130.0)]
    assert caplog.messages == ["journal line 2 is left out: cut short"] * 2


def test_a_last_line_without_its_end_is_taken(make_run):
    assert parse(dumps(make_run("a"))) == [make_run("a")]


def test_several_writers_do_not_disturb_each_other(tmp_path, make_run):
    trace = Trace(tuple(CounterSample(0.1 * tick, 20.0 * tick) for tick in range(2000)))

    def write(writer):
        journal = Journal(tmp_path / "journal.jsonl")
        for number in range(20):
            journal.append(make_run(f"{writer}{number}", trace=trace))

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, "abc"))
    runs = parse((tmp_path / "journal.jsonl").read_text("utf-8"))
    assert sorted(run.run_id for run in runs) == sorted(f"{w}{n}" for w in "abc" for n in range(20))


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
def test_a_full_disk_is_told_with_what_to_do(tmp_path, make_run):
    (tmp_path / "journal.jsonl").symlink_to("/dev/full")
    journal = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(OSError, match=r"No space left on device.*make room"):
        journal.append(make_run("a"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "line 1"),
        ("{}", "schema_version"),
        ('{"schema_version": 999}', "schema version 999"),
        ('{"schema_version": 1}', "line 1 is not a WattBench run"),
        ("nonsense", "line 1"),
    ],
)
def test_what_is_no_run_is_named(line, message):
    with pytest.raises(ValueError, match=message):
        parse(line + "\n")


def test_no_number_that_json_does_not_know(make_run):
    with pytest.raises(ValueError, match="JSON"):
        dumps(make_run(idle_power_w=float("nan")))


def test_an_unwritable_folder_is_refused_before_a_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Journal(tmp_path / "file" / "journal.jsonl")


def test_a_line_is_plain_json(make_run):
    data = json.loads(dumps(make_run("a")))
    assert data["schema_version"] == SCHEMA_VERSION
    assert data["seed"] == 2**63 + 1


def test_idle_power_after_a_run_joins_it(tmp_path, make_run):
    journal = Journal(tmp_path / "journal.jsonl")
    before = {"idle_power_w": 120.0, "idle_power_before_w": 120.0}
    first, second, other = (make_run(name, **before) for name in "abc")
    for run in (first, second, other):
        journal.append(run)
    journal.append_idle_after([first, second], 130.0)
    runs = parse(journal.path.read_text("utf-8"))
    assert [(r.idle_power_before_w, r.idle_power_after_w, r.idle_power_w) for r in runs] == [
        (120.0, 130.0, 125.0),
        (120.0, 130.0, 125.0),
        (120.0, None, 120.0),
    ]


def test_idle_power_of_runs_that_are_not_in_this_part_is_passed_over(make_run, tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append_idle_after([make_run("elsewhere")], 130.0)
    journal.append(make_run("a"))
    assert parse(journal.path.read_text("utf-8")) == [make_run("a")]


def test_the_quality_of_a_run_joins_it_and_the_last_one_counts(tmp_path, make_run):
    journal = Journal(tmp_path / "journal.jsonl")
    first, other = make_run("a"), make_run("b")
    quality = (
        Quality("sharpness", 431.5, ""),
        Quality("clip_score", 0.29, "", "clip/model.safetensors sha256 00"),
        Quality("psnr", None, "dB", note="of equal pictures it is infinite"),
    )
    journal.append_quality(replace(first, quality=quality))
    journal.append(first)
    journal.append(other)
    journal.append_quality(replace(first, quality=quality[:1]))
    journal.append_quality(replace(first, quality=quality))
    journal.append_quality(replace(make_run("elsewhere"), quality=quality))
    found = read(journal.path.read_bytes())
    assert found.runs == (replace(first, quality=quality), other)
    assert (found.left_out, found.notes) == ((), ())
    assert parse("".join(dumps(run) + "\n" for run in found.runs)) == list(found.runs)


def test_idle_power_after_alone_is_taken(make_run):
    changed = with_idle_after(make_run("a", idle_power_w=None), 130.0)
    assert changed.idle_power_w == 130.0


# What is damaged is left out, and all else is kept


def ids(contents):
    return [run.run_id for run in contents.runs]


@pytest.fixture
def lines(make_run):
    """Three runs as lines."""
    return [dumps(make_run(name)).encode() for name in "abc"]


def test_every_line_has_a_checksum(lines):
    body, _, end = lines[0].decode().rpartition(',"crc32":')
    assert end == f'"{zlib.crc32(body.encode()):08x}"}}'


def test_lines_without_a_checksum_are_read(make_run):
    """As earlier versions wrote them."""
    run = make_run("a")
    assert read(codec.dumps(run).encode()).runs == (run,)


def test_a_changed_number_costs_its_run_alone(lines):
    assert b'"repeat":0' in lines[1]
    lines[1] = lines[1].replace(b'"repeat":0', b'"repeat":7')
    contents = read(b"\n".join(lines))
    assert ids(contents) == ["a", "c"]
    assert contents.left_out == ((2, "damaged: its checksum is not that of its bytes"),)


def test_glued_lines_lose_nothing(lines):
    assert ids(read(b"".join(lines))) == ["a", "b", "c"]
    assert ids(read(lines[0] + b"\x00" * 4096 + lines[1] + b"\n" + lines[2])) == ["a", "b", "c"]


def test_the_next_record_is_found_within_a_broken_line(lines):
    contents = read(lines[0][:300] + lines[1] + b"\n" + lines[2] + b"\n")
    assert ids(contents) == ["b", "c"]
    assert contents.left_out == ((1, "cut short"),)
    assert contents.line_count == 2


@pytest.mark.parametrize(
    ("before", "between"),
    [
        (b"\xef\xbb\xbf", b"\n"),
        (b"", b"\r\n"),
        (b"", b"\n\xef\xbb\xbf"),
        (b"\x00" * 512, b"\n" + b"\x00" * 512),
        (b"\n\n  ", b"  \n\n"),
    ],
)
def test_what_crashes_and_editors_add_is_passed_over(lines, before, between):
    contents = read(before + between.join(lines) + between)
    assert ids(contents) == ["a", "b", "c"]
    assert contents.left_out == ()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_file_that_windows_has_saved_in_utf_16(lines, encoding):
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    assert ids(read(mark + b"\r\n".join(lines).decode().encode(encoding))) == ["a", "b", "c"]


DEEP = b'{"schema_version":1,"phases":' + b"[" * 200_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"nonsense", "damaged, or no WattBench record"),
        (b"time,power", "damaged, or no WattBench record"),
        (b"[]", "no WattBench record"),
        (b"null", "no WattBench record"),
        (b'{"a": 1}', "it has no schema_version"),
        (b'{"schema_version": "1"}', "it has no schema_version"),
        (b'{"schema_version": 999}', "it has schema version 999, this WattBench reads up to"),
        (b'{"schema_version":1}', "its Run has no"),
        (b'{"schema_version":1,"kind":"idle_after"}', "no idle power of runs"),
        (b'{"schema_version":2,"kind":"quality","run_id":"a"}', "no list where there should be"),
        (b'{"schema_version":2,"kind":"quality","run_id":"a","quality":[1]}', "no Quality where"),
        (DEEP, "nested too deeply"),
        (DEEP + b"]" * 200_000 + b"}", "nested too deeply"),
        (b'{"schema_version":1,"a":' + b"9" * 5000 + b"}", ""),
        (b'{"schema_version":1,"a":NaN}', "it holds NaN"),
        (b"\xff\xfe\xff", "no WattBench record"),
        (b'{"schema_version":1,"phases":[{"name"', "cut short"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_foreign_line_costs_nothing(lines, line, reason, place):
    lines.insert(place, line)
    contents = read((b"" if place else b"\n") + b"\n".join(lines))
    assert ids(contents) == ["a", "b", "c"]
    [(number, told)] = contents.left_out
    assert number == place + 1 + (not place)
    assert reason in told


def changed(run, **fields):
    """A line as an earlier version wrote it, with other data."""
    return json.dumps({**json.loads(codec.dumps(run)), **fields}).encode()


def test_a_field_more_is_passed_over_and_said(make_run):
    run = make_run("a")
    condition = {**json.loads(codec.dumps(run))["condition"], "later\n": 1}
    contents = read(changed(run, later=1, condition=condition))
    assert contents.runs == (run,)
    assert contents.notes == ((1, "fields passed over: Condition.later?, Run.later"),)


@pytest.mark.parametrize("field", ["run_id", "condition", "seed", "phases", "energy", "trace"])
def test_a_field_less_is_named(make_run, field):
    data = json.loads(codec.dumps(make_run("a")))
    del data[field]
    contents = read(json.dumps(data).encode())
    assert contents.left_out == ((1, f"its Run has no {field}"),)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"condition": []}, "no Condition where there should be one"),
        ({"condition": {}}, "its Condition has no"),
        ({"phases": 5}, "no list where there should be one"),
        ({"phases": [None]}, "no Phase where there should be one"),
        ({"energy": "much"}, "no EnergyReading where there should be one"),
        ({"trace": {"counter": [[1]]}}, "no list of CounterSample where there should be one"),
        ({"trace": {"counter": [[1, 2, 3]]}}, "no list of CounterSample where there should be"),
        ({"trace": {"counter": [{"t_s": 1}]}}, "no list of CounterSample where there should be"),
        ({"trace": {"counter": [[1, "x"]]}}, "a CounterSample is not of numbers"),
        ({"trace": {"power": [[1, None]]}}, "a PowerSample is not of numbers"),
        ({"trace": {"power": [[10**400, 1]]}}, "a number in it is larger than any measured one"),
        ({"wall_time_s": [1]}, "wall_time_s is no number"),
        ({"wall_time_s": "1"}, "wall_time_s is no number"),
        ({"wall_time_s": True}, "wall_time_s is no number"),
        ({"wall_time_s": 10**400}, "a number in it is larger than any measured one"),
        ({"repeat": None}, "repeat is no number"),
        ({"run_id": 5}, "run_id is no text"),
        ({"is_warmup": 0}, "is_warmup is no true or false"),
        ({"board": {"flags": ["a", 1]}}, "a list holds something else than text"),
        ({"phases": [{"name": "x"}]}, "its Phase has no"),
    ],
)
def test_data_of_another_shape_is_left_out_with_its_place(make_run, fields, reason):
    contents = read(changed(make_run("a"), **fields))
    [(_, told)] = contents.left_out
    assert reason in told


def test_numbers_without_end_are_left_out(make_run):
    line = changed(make_run("a"), wall_time_s=1.53125).replace(b"1.53125", b"1e999")
    assert b"1e999" in line
    assert read(line).left_out == ((1, "a number in it is larger than any measured one"),)


@pytest.mark.parametrize("power_w", [True, 10**400, "1", None, [1]])
def test_idle_power_that_is_no_number_is_left_out(make_run, power_w):
    record = {"schema_version": 2, "kind": "idle_after", "run_ids": ["a"]}
    line = json.dumps({**record, "idle_power_after_w": power_w})
    contents = read(f"{dumps(make_run('a'))}\n{line}".encode())
    assert contents.runs == (make_run("a"),)
    assert [line for line, _ in contents.left_out] == [2]


def test_nothing_of_a_line_is_quoted():
    secret = b'{"schema_version":1,"secret_key":"hunter2","condition":"hunter2"'
    for end in (b"}", b"", b"x}", b',"condition":{}}'):
        for _, reason in read(secret + end).left_out:
            assert "hunter2" not in reason


def test_a_journal_of_which_nothing_can_be_read_is_no_journal():
    with pytest.raises(ValueError, match="line 1 is not a WattBench run: no WattBench record"):
        parse("[]\n[]\n")
