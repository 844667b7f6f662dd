"""The attention nodes: what they say beforehand, what ran, and what reaches the tables."""

import csv

import pytest

from wattbench.attention import BACKENDS

SAMPLING = {"steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


@pytest.fixture
def attention_nodes(comfyui, tmp_path, monkeypatch):
    import folder_paths

    from wattbench.nodes import attention

    monkeypatch.setattr(folder_paths, "get_user_directory", lambda: str(tmp_path / "user"))
    return attention


@pytest.fixture
def choose(attention_nodes, tiny_models):
    node = attention_nodes.WattBenchAttentionBackend
    settings = {"strict": False, "max_error": 0.05, "timed": False}
    return lambda backend, **changed: (
        node.execute(tiny_models().model, backend, **{**settings, **changed}).result
    )


def test_every_backend_is_offered_on_every_machine(attention_nodes):
    schema = attention_nodes.WattBenchAttentionBackend.define_schema()
    (options,) = [i.options for i in schema.inputs if i.id == "backend"]
    assert options[:2] == ["auto", "comfyui"]
    assert [b.name for b in BACKENDS] == options[2 : 2 + len(BACKENDS)]
    core = {"pytorch", "sub_quad", "split", "sage", "sage3", "flash", "xformers"}
    assert {f"comfyui:{name}" for name in core} <= set(options)
    assert len(set(options)) == len(options)


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("auto", "the fastest kernel that is right"),
        ("comfyui", "what ComfyUI is set to"),
        ("comfyui:flash", "may itself fall back"),
        ("sdpa_math", "torch's unfused attention"),
        ("sage_2", "not here, because it needs an NVIDIA card; this device is cpu"),
    ],
)
def test_the_report_says_what_a_choice_means_here(backend, said, choose):
    report = choose(backend)[1]
    assert report.startswith(f"{backend}: ")
    assert said in report
    assert "falls back to sdpa and is counted" in report
    assert "ControlNets" in report
    assert "raises an error" in choose(backend, strict=True)[1]


def test_the_table_has_a_line_and_a_reason_for_each_kernel(attention_nodes):
    output = attention_nodes.WattBenchAttentionInfo.execute()
    (table,) = output.ui["wattbench_table"]
    assert [name for name, *_ in table["rows"]] == [backend.name for backend in BACKENDS]
    for _, here, said in table["rows"]:
        assert here == "yes" or "not here, because " in said
    assert output.ui["text"] == [output.result[0]]
    assert all(name in output.result[0] for name, *_ in table["rows"])


def test_info_shows_what_ran_in_the_latest_sampling(
    attention_nodes, choose, comfyui, conditioning, tiny_models
):
    info = attention_nodes.WattBenchAttentionInfo.execute
    model, _ = choose("sage_2", timed=True)
    assert (
        "Executed: none, 0 calls, because the model made no attention call"
        in (info(model).result[0])
    )
    for seed in (1, 2):
        latent = comfyui.KSampler().sample(model, seed, **SAMPLING, **conditioning)
    text = info(model, after=latent).result[0]
    assert "Requested: sage_2" in text
    assert "Executed: sdpa_flash, 44 calls, " in text
    assert "because it needs an NVIDIA card" in text
    assert "float32, 2x2x16x77x64: sdpa_flash, because sage_2: " in text
    assert "has no attention choice" in info(tiny_models().model).result[0]


def test_a_benchmark_tells_requested_from_executed(
    attention_nodes, choose, tiny_models, workspace_folder, hundred_watts
):
    from wattbench.nodes.benchmark import WattBenchBenchmark
    from wattbench.report import append_runs, runs_frame, table_of

    runs = ()
    for backend in ("sub_quadratic", "sage_1"):
        model, _ = choose(backend)
        tiny = tiny_models()
        runs += WattBenchBenchmark.execute(
            model=model,
            clip=tiny.clip,
            vae=tiny.vae,
            positive="a moth",
            negative="",
            width=64,
            height=64,
            batch_size=1,
            steps=2,
            cfg=7.0,
            sampler_name="euler",
            scheduler="normal",
            seed=0,
            warmup_runs=0,
            repeats=2,
            idle_seconds=0.0,
            meter=hundred_watts,
        ).result[1]
    append_runs(runs, workspace_folder)
    with (workspace_folder / "runs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["attention"] for row in rows] == ["sub_quadratic"] * 2 + ["sage_1"] * 2
    assert [row["attention_requested"] for row in rows] == (
        ["sub_quadratic: 44"] * 2 + ["sage_1: 44"] * 2
    )
    assert [row["attention_executed"] for row in rows] == (
        ["sub_quadratic: 44"] * 2 + ["sdpa_flash: 44"] * 2
    )
    assert rows[0]["attention_fallbacks"] == ""
    assert rows[2]["attention_fallbacks"].startswith("sdpa_flash, because it needs an NVIDIA card")
    table = table_of(runs_frame(runs))
    column = table.headings.index("Attention")
    assert [row[column] for row in table.rows] == ["sub_quadratic", "sage_1"]
    assert ["[fall-backs]" in row[0] for row in table.rows] == [False, True]
    (note,) = [note for note in table.notes if note.startswith("Attention of")]
    assert note.startswith("Attention of sage_1 was not what ran: sdpa_flash, because")
