"""The fastest kernel that is right; kernels that are planted to be wrong are caught."""

import json
import os
import stat
import time
from dataclasses import asdict, replace

import pytest
import torch

from wattbench.attention import BACKENDS, AttentionCall, Backend, backend_named
from wattbench.attention.auto import Trial, check, is_lasting, pick, try_all
from wattbench.attention.choices import Choices, key_of
from wattbench.attention.ledger import CpuClock, IdleWatch, Ledger, clock_of
from wattbench.offer import Machine

CPU = Machine("cpu", "cpu")
SDPA = backend_named("sdpa")


def raising(q, k, v, mask, scale):
    raise RuntimeError("no kernel image\nis available")


def not_a_number(q, k, v, mask, scale):
    out = SDPA(q, k, v, mask, scale)
    out[:, -1, -1, -1] = float("nan")
    return out


def a_tail_too_many(q, k, v, mask, scale):
    """Counts keys that are not there, as a real kernel does."""
    k, v = (torch.nn.functional.pad(x, (0, 0, 0, 19)) for x in (k, v))
    return SDPA(q, k, v, mask, scale)


def wrong_at_the_end(q, k, v, mask, scale):
    out = SDPA(q, k, v, mask, scale)
    out[:, :, -1] *= 2
    return out


FAULTS = {
    "raising": (raising, "it raised RuntimeError: no kernel image"),
    "not_a_number": (not_a_number, "its result holds NaN or infinity"),
    "a_tail_too_many": (a_tail_too_many, "its error against fp32 is 0.21"),
    "wrong_at_the_end": (wrong_at_the_end, "its error against fp32 is 0."),
}


@pytest.fixture(params=[torch.float32, torch.float16], ids=str)
def inputs(request, tensors):
    q, k, v = tensors(q_len=300, dtype=request.param)
    return AttentionCall.of(CPU, q, k), (q, k, v, None, None)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("is_exact", [True, False])
def test_faults_are_caught(fault, is_exact, inputs):
    kernel, reason = FAULTS[fault]
    backend = Backend(fault, "planted", kernel, is_exact=is_exact)
    assert check(backend, *inputs, max_error=0.01).refusal.startswith(reason)


def test_of_many_sequences_some_are_compared(monkeypatch):
    """Video models have thousands; the last one is among those."""
    from wattbench.attention import accuracy

    sizes, in_chunks = [], accuracy.in_chunks
    monkeypatch.setattr(
        accuracy, "in_chunks", lambda q, *rest: (sizes.append(q.shape), in_chunks(q, *rest))[1]
    )
    random = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1000, 2, 6, 8, generator=random)
    masks = (torch.rand(count, 1, 6, 6, generator=random) > 0.3 for count in (1000, 1))
    for mask in (None, *masks):
        out = SDPA(q, k, v, mask)
        assert accuracy.relative_error(out, q, k, v, mask) < 1e-6
        out[-1] = 0
        assert accuracy.relative_error(out, q, k, v, mask) > 0.4
    assert set(sizes) == {(4, 2, 6, 8)}


def test_a_quantized_kernel_is_admitted_up_to_the_bound(inputs):
    coarse = Backend("coarse", "", lambda *t: SDPA(*t) * 1.02, is_exact=False)
    assert check(coarse, *inputs, max_error=0.03).refusal == ""
    assert check(coarse, *inputs, max_error=0.03).error == pytest.approx(0.02, rel=0.1)
    assert "above 0.01" in check(coarse, *inputs, max_error=0.01).refusal
    exact = Backend("coarse", "", coarse.kernel)
    assert "its error" in check(exact, *inputs, max_error=0.03).refusal


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("sm_75"), "it raised KeyError: 'sm_75'"),
        (NameError("_qattn_sm89"), "it raised NameError: _qattn_sm89"),
        (torch.OutOfMemoryError("CUDA out of memory"), "memory is short"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), "memory is short"),
    ],
)
def test_what_packages_raise_is_told(error, reason, inputs):
    """As releases do that were made for other cards, and devices that are full."""

    def fail(*tensors):
        raise error

    assert check(Backend("x", "", fail), *inputs, max_error=0.01).refusal == reason


def test_sdpa_is_the_yardstick_and_not_held_to_it(inputs):
    """Where it adds coarsely (TF32, FP16 sums), so may the others; NaN is refused all the same."""
    coarse = Backend("sdpa", "", lambda *t: SDPA(*t) * 1.05)
    other = Backend("other", "", lambda *t: SDPA(*t) * 1.06)
    assert [t.refusal for t in try_all([coarse, other], *inputs, 0.01)] == ["", ""]
    nan = Backend("sdpa", "", not_a_number)
    assert try_all([nan], *inputs, 0.01)[0].refusal == "its result holds NaN or infinity"


def test_nothing_is_said_of_inputs_that_are_not_finite(tensors):
    q, k, v = tensors()
    v[..., 0] = float("inf")
    call = AttentionCall.of(CPU, q, k)
    assert check(SDPA, call, (q, k, v, None, None), 0.01) == Trial("sdpa")


def test_a_moment_is_not_remembered(tensors):
    """What cannot be checked is not chosen, and a lack of memory may pass."""
    q, k, v = tensors()
    v[..., 0] = float("inf")
    trials = try_all(BACKENDS[:2], AttentionCall.of(CPU, q, k), (q, k, v, None, None), 0.01)
    assert [t.refusal[:27] for t in trials] == ["", "the call's own numbers are "]
    assert not is_lasting(trials)
    assert not is_lasting([Trial("sdpa"), Trial("b", refusal="memory is short")])
    assert not is_lasting([Trial("sdpa", refusal="its scores take 9 GiB"), Trial("b", 1.0)])
    assert is_lasting([Trial("sdpa"), Trial("b", refusal="it takes no mask")])


def test_every_kernel_is_tried_and_faulty_ones_are_not_timed(inputs):
    planted = [Backend(name, "", kernel) for name, (kernel, _) in FAULTS.items()]
    call, tensors = inputs
    before = [x.clone() for x in tensors[:3]]
    trials = {t.backend: t for t in try_all([*BACKENDS, *planted], call, tensors, 0.01)}
    timed = {name for name, trial in trials.items() if trial.seconds is not None}
    assert timed == {"sdpa", "sdpa_flash", "sdpa_math", "sub_quadratic", "split"}
    assert all(trials[name].host_s > 0 for name in timed)
    assert all(trial.refusal for name, trial in trials.items() if name not in timed)
    assert all(torch.equal(x, y) for x, y in zip(tensors, before, strict=False))


def test_what_cannot_fit_is_not_tried(inputs, monkeypatch):
    from wattbench.attention import sdpa

    monkeypatch.setattr(sdpa, "free_bytes", lambda device: 2**20 // 4)
    refused = {t.backend: t.refusal for t in try_all(BACKENDS[:5], *inputs, 0.01) if t.refusal}
    assert refused["sdpa_math"] == "its scores take 0.0 GiB, and 0.0 GiB are free"
    assert "sdpa" not in refused


def test_the_slower_kernel_is_not_picked(inputs):
    def slow(*tensors):
        time.sleep(0.05)
        return SDPA(*tensors)

    trials = try_all([Backend("slow", "", slow), SDPA], *inputs, 0.01)
    assert pick(trials).backend == "sdpa"
    assert trials[0].seconds > 0.05


@pytest.fixture
def simulated_time(monkeypatch):
    """A clock that stands still: kernels set it forward."""
    now_s = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now_s[0])
    return now_s


def test_one_delay_does_not_cost_a_kernel_its_place(simulated_time, inputs):
    """Another process or thread may have the processor for 5 ms, the time of 300 calls."""
    calls = []

    def taking(name, seconds):
        def kernel(*tensors):
            calls.append(name)
            delayed = name == "quick" and calls.count(name) in (2, 10)
            simulated_time[0] += 5e-3 if delayed else seconds
            return SDPA(*tensors)

        return Backend(name, "", kernel)

    kernels = [taking("sdpa", 3e-5), taking("quick", 1.5e-5), taking("slow", 5e-2)]
    trials = try_all(kernels, *inputs, 0.01)
    assert [trial.seconds for trial in trials] == pytest.approx([3e-5, 1.5e-5, 5e-2])
    assert [trial.scatter_s for trial in trials] == pytest.approx([0, 0, 0], abs=1e-9)
    assert pick(trials).backend == "quick"
    assert calls.count("slow") == 5, "one to check, three to warm up, one round"


def test_what_a_call_costs_depends_on_who_waits():
    """Microseconds as seen on a card: a fused kernel that is quick to run and slow to queue."""
    queued = Trial("sdpa", 51e-6, 25e-6)
    quick = Trial("sdpa_cudnn", 34e-6, 60e-6)
    assert pick([queued, quick], idle=0.0) is quick
    assert pick([queued, quick], idle=1.0) is queued


def test_where_the_device_waits_only_the_host_and_what_it_cannot_hide_count():
    """SDXL's largest attention on a card that waits for the host: nothing on the device helps."""
    sdpa = Trial("sdpa", 304e-6, 21e-6)
    cudnn = Trial("sdpa_cudnn", 183e-6, 55e-6)
    efficient = Trial("sdpa_efficient", 697e-6, 12e-6)
    assert pick([sdpa, cudnn, efficient], idle=1.0) is sdpa
    assert pick([sdpa, cudnn, efficient], idle=0.0) is cudnn
    assert pick([sdpa, Trial("quick", 304e-6, 9e-6)], idle=1.0).backend == "quick"


@pytest.mark.parametrize("idle", [0.0, 0.5, 1.0])
def test_a_little_of_the_hosts_time_is_not_bought_with_much_of_the_devices(idle):
    """What takes near-equal time and keeps the card busy for longer takes more joules."""
    sdpa = Trial("sdpa", 304e-6, 21e-6)
    cudnn = Trial("sdpa_cudnn", 183e-6, 25e-6)
    assert pick([sdpa, cudnn], idle) is cudnn
    stock, other = Trial("sdpa", 183e-6, 25e-6), Trial("other", 300e-6, 20e-6)
    assert pick([stock, other], idle) is stock


@pytest.mark.parametrize(("scatter", "picked"), [(3.9e-6, "other"), (4.1e-6, "sdpa")])
@pytest.mark.parametrize("idle", [0.0, 1.0])
def test_within_what_the_times_scatter_the_first_stays(scatter, picked, idle):
    first = Trial("sdpa", 100e-6, 100e-6, scatter_s=scatter)
    other = Trial("other", 96e-6, 96e-6)
    assert pick([first, other], idle).backend == picked
    assert pick(
        [replace(first, scatter_s=0.0), replace(other, scatter_s=scatter)], idle
    ).backend == (picked)


def test_the_first_stays_unless_clearly_beaten():
    first, near, far = (Trial(n, s, s) for n, s in (("sdpa", 1.0), ("b", 0.99), ("c", 0.9)))
    refused = Trial("d", refusal="it raised")
    assert pick([first, near, refused]) is first
    assert pick([first, near, far]) is far
    assert pick([refused]) is None


def test_how_far_rounds_scatter_is_measured(simulated_time, inputs):
    """A round of 20 calls takes 1, 2, 3, 4, 5 times 30 us for each of them."""
    calls = []

    def kernel(*tensors):
        calls.append(0)
        simulated_time[0] += 30e-6 * max(1, 1 + (len(calls) - 5) // 20)
        return SDPA(*tensors)

    [trial] = try_all([Backend("sdpa", "", kernel)], *inputs, 0.01)
    assert trial.seconds == pytest.approx(30e-6)
    assert trial.scatter_s == pytest.approx(30e-6)


def test_choices_are_remembered_and_those_of_others_kept(tmp_path):
    path = tmp_path / "folder" / "attention.json"
    trials = [Trial("sdpa", 1e-5, 2e-5, 1e-3, scatter_s=1e-7), Trial("sage_1", refusal="no")]
    assert Choices(path).get("a", ["sdpa", "sage_1"]) is None
    Choices(path).put("a", trials)
    Choices(path).put("b", trials[:1])
    assert Choices(path).get("a", ["sdpa", "sage_1"]) == trials
    assert Choices(path).get("b", ["sdpa"]) == trials[:1]
    assert [p.name for p in path.parent.iterdir()] == ["attention.json"]


def test_trials_of_other_kernels_are_not_taken(tmp_path):
    """Another release of the pack made them, or a package has come since, or was switched on."""
    memory = Choices(tmp_path / "attention.json")
    memory.put("a", [Trial("sdpa", 1e-5, 2e-5, 1e-3), Trial("a_kernel_of_tomorrow", 1e-6, 1e-6)])
    assert memory.get("a", ["sdpa"]) is None
    assert memory.get("a", ["sdpa", "sage_1"]) is None
    memory.put("a", [])
    assert memory.get("a", ["sdpa"]) is None


WRONG_TYPE = asdict(Trial("sdpa")) | {"seconds": "fast"}
UNREADABLE = (
    "",
    "{",
    "[]",
    *map(
        json.dumps,
        (
            {"format": 1, "choices": {"a": [{"x": 1}]}},
            {"format": 1, "choices": {"a": [WRONG_TYPE]}},
        ),
    ),
)


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_corrupt_file_is_replaced(text, tmp_path, caplog):
    path = tmp_path / "attention.json"
    path.write_text(text, "utf-8")
    assert Choices(path).get("a", ["sdpa"]) is None
    assert "cannot read its attention choices" in caplog.text
    Choices(path).put("a", [Trial("sdpa")])
    assert json.loads(path.read_text("utf-8"))["format"] == 1
    assert Choices(path).get("a", ["sdpa"]) == [Trial("sdpa")]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_others_may_read_the_file_where_the_umask_says_so(tmp_path):
    before = os.umask(0o022)
    try:
        Choices(tmp_path / "attention.json").put("a", [])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "attention.json").stat().st_mode) == 0o644


def test_a_folder_that_cannot_be_written_is_logged(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("", "utf-8")
    Choices(blocked / "attention.json").put("a", [])
    assert "cannot remember attention choices" in caplog.text


def test_a_key_tells_machines_software_and_shapes_apart(tensors):
    q, k, _ = tensors()
    call = AttentionCall.of(Machine("cuda", "RTX 3090", (8, 6)), q, k)
    key = key_of(call, 0.05)
    assert key.startswith("RTX 3090 of compute capability 8.6 | torch ")
    others = [
        key_of(AttentionCall.of(Machine("cuda", "RTX 3090", (8, 9)), q, k), 0.05),
        key_of(AttentionCall.of(call.machine, q, k[:, :, 1:]), 0.05),
        key_of(AttentionCall.of(call.machine, q.half(), k), 0.05),
        key_of(AttentionCall.of(call.machine, q, k, scale=0.1), 0.05),
        key_of(AttentionCall.of(call.machine, q, k, torch.ones(1, 1, 70, 45)), 0.05),
        key_of(call, 0.1),
        key_of(AttentionCall.of(CPU, q, k), 0.05),
    ]
    assert len({key, *others}) == len(others) + 1


def test_a_ledger_counts_and_forgets():
    ledger = Ledger("sage_2", clock_of("cpu"))
    own, other = ledger.tally("sage_2"), ledger.tally("sdpa", "it takes no mask")
    assert ledger.tally("sdpa", "it takes no mask") is other
    own.call_count, other.call_count = 3, 1
    other.spans.append((1.0, 1.5))
    counts = [(c.executed, c.call_count, c.duration_s, c.reason) for c in ledger.read()]
    assert counts == [("sage_2", 3, None, ""), ("sdpa", 1, 0.5, "it takes no mask")]
    ledger.clear()
    assert ledger.read() == []
    own.call_count = 1
    assert [c.executed for c in ledger.read()] == ["sage_2"]


def test_a_clock_measures_time():
    clock = CpuClock()
    before_s = time.perf_counter()
    start, began_s = clock.mark(), time.perf_counter()
    time.sleep(0.01)
    ended_s, end = time.perf_counter(), clock.mark()
    assert ended_s - began_s <= clock.seconds(start, end) <= time.perf_counter() - before_s


def test_where_work_is_queued_no_clock_counts_the_queueing_alone(monkeypatch):
    """Simulated: MPS is waited for, CUDA and XPU have events, and DirectML has neither."""
    monkeypatch.setattr(torch.mps, "synchronize", lambda: time.sleep(0.01))
    clock = clock_of("mps")
    assert clock.seconds(clock.mark(), clock.mark()) >= 0.01

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            pass

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return 3.0

    for kind in ("cuda", "xpu"):
        monkeypatch.setattr(getattr(torch, kind), "Event", Event)
        clock = clock_of(kind)
        assert clock.seconds(clock.mark(), clock.mark()) == 3e-3
    with pytest.raises(ValueError, match=r"privateuseone devices .* Bypass this node"):
        clock_of("privateuseone")


def test_an_idle_device_is_noticed(monkeypatch):
    """A simulated card that has finished three of four times when the next call comes."""

    class Event:
        made = 0

        def __init__(self):
            Event.made += 1
            self.number = Event.made

        def record(self):
            pass

        def query(self):
            return self.number % 4 != 0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    watch = IdleWatch()
    for _ in range(IdleWatch.SETTLING_CALLS + IdleWatch.CALLS):
        assert watch.part is None
        watch.note()
    assert watch.part == pytest.approx(0.75, abs=0.02)
    watch.restart()
    assert watch.part is None
