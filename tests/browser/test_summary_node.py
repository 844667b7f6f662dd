"""Show Summary in ComfyUI's real frontend, after a real run."""

from __future__ import annotations

import csv
import re
import uuid

import pytest
from frontend import CONTRASTS
from playwright.sync_api import expect

from wattbench.measure.report.markdown import HEADINGS

SYNTHETIC = {"architecture": "sdxl", "size": "tiny", "dtype": "fp32", "seed": 0}
RUN = {
    "positive": "a moth",
    "negative": "",
    "width": 64,
    "height": 64,
    "batch_size": 1,
    "seed": 1,
    "steps": 1,
    "cfg": 7.0,
    "sampler_name": "euler",
    "scheduler": "normal",
    "warmup_runs": 0,
    "repeats": 2,
    "idle_seconds": 0,
    "meter": "estimate",
}
WORKFLOW = {
    "1": {"class_type": "WattBenchSyntheticModel", "inputs": SYNTHETIC},
    "2": {
        "class_type": "WattBenchBenchmark",
        "inputs": {"model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2], **RUN},
    },
    "3": {"class_type": "WattBenchShowSummary", "inputs": {"runs": ["2", 1]}},
}

PREPARE = """() => {
    const node = app.rootGraph.nodes.find((n) => n.type === "WattBenchShowSummary");
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [200 - node.pos[0], 120 - node.pos[1]];
    app.canvas.setDirty(true, true);
}"""
NODE = "app.rootGraph.nodes.find((n) => n.type === 'WattBenchShowSummary')"

MADE_UP = {
    "headings": list(HEADINGS),
    "rows": [
        [f"model {i}, 1024x1024 | <img src=x>", "10", "1.00 ± 0.01", "—", "5 ± 1", "7", "8", "nvml"]
        for i in range(5)
    ],
    "notes": ["a note"],
}


@pytest.fixture
def opened(frontend):
    """The workflow on the canvas, its summary node in view, not run yet."""
    frontend.complaints.clear()
    frontend.load(WORKFLOW, "summary")
    frontend.page.evaluate(PREPARE)
    yield frontend
    assert frontend.complaints == []


@pytest.fixture(scope="module")
def ran(frontend):
    """A workflow with an id of its own, as a saved one has, after a real run."""
    frontend.load(WORKFLOW, "run")
    frontend.page.evaluate("app.rootGraph.id = crypto.randomUUID()")
    frontend.page.evaluate(PREPARE)
    frontend.queue()
    expect(main_table(frontend)).to_be_visible()
    expect(widget(frontend)).not_to_contain_text("history")
    return frontend.page.evaluate("app.rootGraph.serialize()")


@pytest.fixture(scope="module")
def output(frontend, ran):
    """What the node gave, and showed, in that run."""
    [summary] = frontend.page.evaluate(f"app.nodeOutputs[{NODE}.id].wattbench_summary")
    return summary


@pytest.fixture
def shown(opened, output):
    """The workflow with that output in its node."""
    show(opened, output)
    return opened


def widget(frontend):
    return frontend.page.locator(".wattbench-summary")


def main_table(frontend):
    return widget(frontend).locator("table").first


def phases_table(frontend):
    return widget(frontend).locator(".wattbench-fold table")


def press(button):
    """By keyboard: a tall node reaches out of the window."""
    button.focus()
    button.page.keyboard.press("Enter")


def show(frontend, summary):
    """Let the frontend receive an output, as after a run."""
    frontend.page.evaluate(
        f"""async (summary) => {{
            const {{ api }} = await import("/scripts/api.js");
            const output = {{ wattbench_summary: [summary] }};
            const node = `${{{NODE}.id}}`;
            const detail = {{ node, display_node: node, prompt_id: "earlier", output }};
            api.dispatchCustomEvent("executed", detail);
        }}""",
        summary,
    )


def test_an_empty_node_says_what_to_do(opened):
    expect(widget(opened)).to_contain_text("press Run")


def test_a_run_fills_the_table(shown):
    table = main_table(shown)
    expect(table).to_be_visible()
    first, condition = table.locator("thead th[scope=col]").all_inner_texts()
    headings = (first, *table.locator("tbody th[scope=row]").all_inner_texts())
    assert headings == HEADINGS
    assert condition.startswith("synthetic sdxl tiny, 64x64, euler/normal")
    expect(table.locator("caption")).to_contain_text("95 % Student-t interval")
    values = dict(zip(HEADINGS[1:], table.locator("td").all_inner_texts(), strict=True))
    assert values["n"] == "2"
    assert values["Energy from"] == "estimate (estimated)"
    for metric in ("it/s", "img/s", "J/img", "img/kWh"):
        mean = re.fullmatch(r"([\d.]+) ± [\d.]+", values[metric])
        assert mean is not None, (metric, values[metric])
        assert float(mean[1]) > 0
    assert "Measured " in widget(shown).locator(".wattbench-notes li").first.inner_text()


def test_phases_have_time_energy_and_share(shown, output):
    table = phases_table(shown)
    names = table.locator("tbody th[scope=row]").all_inner_texts()
    cells = dict(zip(names, table.locator("td").all_inner_texts(), strict=True))
    (row,) = output["phases"]["rows"]
    assert dict(zip(output["phases"]["headings"][1:], row[1:], strict=True)).keys() == cells.keys()
    for unit in ("s", "J"):
        found = [cells[f"{phase} ({unit})"] for phase in ("Encode", "Denoise", "Decode")]
        values, shares = zip(
            *(re.fullmatch(r"([\d.]+) ± [\d.]+ \((\d+) %\)", cell).groups() for cell in found),
            strict=True,
        )
        assert sum(map(int, shares)) == pytest.approx(100, abs=1)
        total = sum(map(float, values))
        assert [100 * float(value) / total for value in values] == pytest.approx(
            [int(share) for share in shares], abs=15
        )


def test_every_blank_cell_leads_to_its_reason(shown):
    reasons = widget(shown).locator(".wattbench-reasons li").all_inner_texts()
    blank = widget(shown).locator("td:has(abbr)")
    marks = [int(mark) for mark in blank.locator("sup").all_inner_texts()]
    assert len(marks) == blank.count() > 1
    titles = blank.locator("abbr").evaluate_all("(all) => all.map((one) => one.title)")
    assert [reasons[mark - 1] for mark in marks] == titles
    assert reasons[0].startswith("the model ran on the CPU")
    assert "idle power was not measured" in reasons


SERIES = {
    "phases": [
        {"name": "load", "time_s": 1, "energy_j": None},
        {"name": "denoise", "time_s": 3, "energy_j": 300},
        {"name": "decode", "time_s": 0.5, "energy_j": 100},
    ],
    "step_times_s": [0.5, 1, 0.75],
    "repeats": [
        {"unit": "img/s", "values": [1, 3], "mean": 2, "low": 0, "high": 4},
        {"unit": "J/img", "values": [400], "mean": 400, "low": None, "high": None},
    ],
}


def test_a_run_fills_the_charts(shown, output):
    (series,) = output["series"]
    figures = widget(shown).locator("figure")
    texts = figures.all_inner_texts()
    assert [text.split(":")[0].splitlines()[0] for text in texts] == [
        "Time of the phases, mean of the repeats",
        "Energy of the phases, mean of the repeats",
        "img/s",
        "J/img",
    ]
    assert len(series["step_times_s"]) == 1
    assert [phase["name"] for phase in series["phases"]] == [
        "load",
        "text_encode",
        "denoise",
        "decode",
    ]
    # What is drawn is as wide as what was measured.
    bar = figures.nth(0).locator("svg").first
    widths = [float(part.get_attribute("width")) for part in bar.locator("rect").all()]
    times = [phase["time_s"] for phase in series["phases"]]
    expected = [240 * time_s / sum(times) for time_s in times]
    assert widths == pytest.approx(expected, abs=1.1)


def test_charts_draw_what_they_say(opened):
    show(opened, {**MADE_UP, "rows": MADE_UP["rows"][:1], "series": [SERIES]})
    figures = widget(opened).locator("figure")
    times, energies, steps, repeats = figures.all_inner_texts()
    assert times.splitlines()[1:] == ["Loading", "Denoising", "Decoding"]
    assert energies.splitlines()[1:] == ["Denoising", "Decoding"]
    assert steps == (
        "Time of each step, from 0; steps: 3, mean 750 ms, shortest 500 ms, longest 1.00 s"
    )
    points = figures.nth(2).locator("polyline").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    assert (heights[0] - heights[2]) == pytest.approx(heights[2] - heights[1])
    assert repeats == (
        "img/s: 2.00 (95 % interval: 0.00 \u2013 4.00), repeats: 2, 1.00 \u2013 3.00"
    )
    low, high = (float(dot.get_attribute("cy")) for dot in figures.nth(3).locator("circle").all())
    band = figures.nth(3).locator("rect")
    top, height = (float(band.get_attribute(name)) for name in ("y", "height"))
    assert low - top == pytest.approx(0.75 * height, abs=0.2)
    assert high - top == pytest.approx(0.25 * height, abs=0.2)


def test_charts_of_many_conditions_are_folded_and_open_by_keyboard(opened):
    show(opened, {**MADE_UP, "series": [SERIES] * 5})
    fold = widget(opened).locator("details")
    expect(fold).to_have_count(1)
    expect(fold.locator("figure").first).not_to_be_visible()
    fold.locator("summary").focus()
    opened.page.keyboard.press("Enter")
    expect(fold.locator("figure").first).to_be_visible()
    assert fold.locator("h4").all_inner_texts() == [row[0] for row in MADE_UP["rows"]]


LONG = "a_checkpoint_of_a_merge_of_merges_" * 4


@pytest.mark.parametrize("count", [2, 5])
def test_a_long_name_leaves_the_numbers_in_sight(opened, count):
    rows = [[LONG + row[0], *row[1:]] for row in MADE_UP["rows"][:count]]
    show(opened, {**MADE_UP, "rows": rows})
    region = widget(opened).get_by_role("region")
    end, cell_end = region.evaluate(
        "(e) => [e.getBoundingClientRect(), e.querySelector('td').getBoundingClientRect()]"
        ".map((box) => box.right)"
    )
    assert cell_end <= end


def test_all_of_it_is_visible_in_the_node(shown):
    sizes = widget(shown).evaluate(
        "(e) => [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight]"
    )
    assert sizes == [0, 0]
    for region in widget(shown).locator("[role=region]").all():
        assert region.evaluate("(e) => e.scrollWidth - e.clientWidth") == 0
    bottom = shown.page.evaluate(f"{NODE}.pos[1] + {NODE}.size[1] + app.canvas.ds.offset[1]")
    top_of_canvas = shown.page.evaluate("app.canvasEl.getBoundingClientRect().top")
    button = widget(shown).get_by_role("button").first.bounding_box()
    assert button["y"] + button["height"] <= bottom + top_of_canvas


def test_it_grows_no_further_than_the_next_node(opened, output):
    opened.page.evaluate(
        f"""() => {{
            const node = {NODE};
            node.setSize([560, 200]);
            const below = app.rootGraph.nodes.find((one) => one.type === "WattBenchBenchmark");
            below.pos = [node.pos[0], node.pos[1] + 400];
        }}"""
    )
    show(opened, output)
    expect(main_table(opened)).to_be_visible()
    height = opened.page.evaluate(f"{NODE}.size[1]")
    assert 300 < height < 400
    assert widget(opened).evaluate("(e) => e.scrollHeight > e.clientHeight")


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_text_stands_out_from_its_ground(shown, palette):
    shown.set("Comfy.ColorPalette", palette)
    contrasts = widget(shown).evaluate(CONTRASTS)
    assert {tag for tag, _ in contrasts} >= {"TH", "TD", "CAPTION", "LI", "BUTTON", "FIGCAPTION"}
    assert [found for found in contrasts if found[1] < 4.5] == []


def test_the_keyboard_reaches_and_copies_the_tables(shown, output):
    page = shown.page
    region = widget(shown).get_by_role("region", name="Student-t interval")
    stops = [
        widget(shown).locator("summary", has_text="Phases"),
        widget(shown).get_by_role("region", name="phase by phase"),
        widget(shown).get_by_role("button", name="Copy as Markdown"),
    ]
    region.focus()
    for stop in stops:
        page.keyboard.press("Tab")
        expect(stop).to_be_focused()
        assert stop.evaluate("(e) => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(widget(shown).get_by_role("status")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    rows = [line.strip("| ").split(" | ") for line in copied.splitlines() if line[0:1] == "|"]
    phases = output["phases"]
    assert rows[0] == list(output["headings"])
    assert rows[3] == list(phases["headings"])
    for row, cells in ((rows[2], output["rows"][0]), (rows[5], phases["rows"][0])):
        assert [cell.split(" [")[0] for cell in row[1:]] == list(cells[1:])
    assert f"- [2] {widget(shown).locator('.wattbench-reasons li').nth(1).inner_text()}" in copied


def test_the_saved_csv_has_the_figures_of_the_tables(shown, output):
    with shown.page.expect_download() as download:
        press(widget(shown).get_by_role("button", name="Save as CSV"))
    assert download.value.suggested_filename == "wattbench.csv"
    with download.value.path().open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["Condition"] == output["rows"][0][0]
    figures = 0
    for table in (output, output["phases"]):
        for heading, cell in zip(table["headings"], table["rows"][0], strict=True):
            if cell == "—":
                assert row[heading] == ""
            elif " ± " in cell:
                value, half, *_ = cell.replace(" ± ", " ").split()
                assert (row[heading], row[f"{heading} ±"]) == (value, half)
                figures += 1
    assert figures > 10


def test_copying_works_without_the_clipboard_of_secure_pages(shown):
    page = shown.page
    page.evaluate("navigator.clipboard.writeText('before')")
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})"
    )
    press(widget(shown).get_by_role("button", name="Copy as Markdown"))
    expect(widget(shown).get_by_role("status")).to_have_text("Copied.")
    page.evaluate("delete navigator.clipboard")
    assert page.evaluate("navigator.clipboard.readText()").startswith("| Condition | n |")


def test_after_a_reload_the_last_result_is_there_and_says_when(frontend, ran, output):
    frontend.complaints.clear()
    frontend.open()
    frontend.load(ran, "kept")
    frontend.page.evaluate(PREPARE)
    expect(widget(frontend)).to_contain_text("history: a run that ended")
    cells = main_table(frontend).locator("td").all_inner_texts()
    assert [cell.removesuffix("1") if "—" in cell else cell for cell in cells] == output["rows"][0][
        1:
    ]
    frontend.load({**ran, "id": str(uuid.uuid4())}, "another workflow")
    frontend.page.wait_for_timeout(500)
    expect(widget(frontend)).to_contain_text("press Run")
    assert frontend.complaints == []


def test_many_conditions_have_a_row_each_and_scroll_by_keyboard(opened):
    show(opened, MADE_UP)
    table = widget(opened).locator("table")
    assert tuple(table.locator("thead th[scope=col]").all_inner_texts()) == HEADINGS
    rows = table.locator("tbody th[scope=row]").all_inner_texts()
    assert rows == [row[0] for row in MADE_UP["rows"]]
    expect(widget(opened).locator("img")).to_have_count(0)
    number = table.locator("td").filter(has_text="1.00").first
    assert number.evaluate("(e) => getComputedStyle(e).textAlign") == "right"
    region = widget(opened).get_by_role("region")
    region.focus()
    opened.page.keyboard.press("ArrowRight")
    opened.page.wait_for_function("document.querySelector('.wattbench-region').scrollLeft > 0")


def test_the_table_outlives_undo_and_a_change_of_tabs(shown):
    page = shown.page
    page.evaluate(f"{NODE}.pos = [{NODE}.pos[0] + 40, {NODE}.pos[1]]")
    tracker = "app.extensionManager.workflow.activeWorkflow.changeTracker"
    page.evaluate(f"{tracker}.captureCanvasState()")
    page.evaluate(f"{tracker}.undo()")
    expect(widget(shown).locator("caption")).to_have_count(2)
    page.evaluate(f"{tracker}.redo()")
    expect(widget(shown).locator("caption")).to_have_count(2)
    first = page.evaluate_handle("app.extensionManager.workflow.activeWorkflow")
    shown.load(WORKFLOW, "another")
    page.evaluate(PREPARE)
    expect(widget(shown)).to_contain_text("press Run")
    page.evaluate("(w) => app.loadGraphData(w.activeState, true, true, w)", first)
    page.evaluate(PREPARE)
    expect(widget(shown).locator("caption")).to_have_count(2)


def test_a_removed_node_leaves_nothing_behind(shown):
    expect(widget(shown)).to_have_count(1)
    shown.page.evaluate(f"app.rootGraph.remove({NODE})")
    expect(widget(shown)).to_have_count(0)


def test_the_table_appears_inside_a_subgraph(opened):
    page = opened.page
    page.evaluate(
        f"""() => {{
            const {{ node, subgraph }} = app.rootGraph.convertToSubgraph(new Set([{NODE}]));
            window.inner = subgraph;
        }}"""
    )
    opened.queue()
    page.evaluate("app.canvas.setGraph(inner)")
    page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    expect(widget(opened).locator("tbody th").first).to_have_text("n")
    page.evaluate("app.canvas.setGraph(app.rootGraph)")


def test_the_widget_is_no_input_and_is_not_saved(shown):
    prompt = shown.page.evaluate(f"async () => (await app.graphToPrompt()).output[{NODE}.id]")
    assert list(prompt["inputs"]) == ["runs"]
    saved = shown.page.evaluate(f"{NODE}.serialize()")
    assert not any(saved.get("widgets_values") or [])
    assert "J/img" not in str(saved)


@pytest.mark.parametrize("node", ["WattBenchCalibrate", "WattBenchQuantReport"])
def test_a_table_of_layers_has_the_same_face(frontend, node):
    frontend.complaints.clear()
    frontend.load({"1": {"class_type": node, "inputs": {}}}, node)
    frontend.page.wait_for_function(f"app.rootGraph.nodes.some((one) => one.type === '{node}')")
    body = frontend.page.locator(".wattbench-summary")
    expect(body).to_have_count(1)
    frontend.page.evaluate(
        """async ({ type, output }) => {
            const { api } = await import("/scripts/api.js");
            const node = `${app.rootGraph.nodes.find((one) => one.type === type).id}`;
            const detail = { node, display_node: node, prompt_id: "earlier", output };
            api.dispatchCustomEvent("executed", detail);
        }""",
        {"type": node, "output": {"wattbench_table": [MADE_UP]}},
    )
    expect(body.locator("tbody tr")).to_have_count(len(MADE_UP["rows"]))
    expect(body).to_contain_text("a note")
    assert frontend.complaints == []


def test_texts_follow_the_language(opened, output):
    opened.speak("pt-BR")
    try:
        opened.load(WORKFLOW, "resumo")
        assert opened.page.evaluate(f"{NODE}.inputs[0].localized_name") == "execuções"
        show(opened, output)
        expect(widget(opened).locator("thead th").first).to_have_text("Condição")
        buttons = widget(opened).get_by_role("button")
        expect(buttons).to_have_text(["Copiar como Markdown", "Salvar como CSV"])
        decimal = re.compile(r"\d,\d+ ± \d")
        expect(phases_table(opened).locator("td").filter(has_text=decimal).first).to_be_visible()
        assert not re.search(r"\d\.\d", phases_table(opened).inner_text())
        expect(main_table(opened)).to_contain_text("estimate (estimado)")
        expect(widget(opened)).to_contain_text("Energia: estimado: ")
        expect(widget(opened)).to_contain_text("× carga da CPU, não é uma medição")
        press(buttons.first)
        copied = opened.page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("| Condição | n |")
        assert "- Energia: estimado: " in copied
    finally:
        opened.speak("en")


TEMPLATES = {
    "Board: …": "Placa: …",
    "clock changed: … to … MHz": "clock mudou: … a … MHz",
    "idle was … W, not measured": "repouso era … W, não medido",
    "no energy: short; too short": "sem energia: curto",
    "… (… of … runs)": "… (… de … execuções)",
    "power is now (field 186)": "potência do momento (campo 186)",
}


@pytest.mark.parametrize(
    ("said", "translated"),
    [
        ("Board: clock changed: 1.5 to 2.5 MHz", "Placa: clock mudou: 1,5 a 2,5 MHz"),
        (
            "a model 1.0: idle was 9..9.5 W, not measured",
            "a model 1.0: repouso era 9..9,5 W, não medido",
        ),
        (
            "power is now (field 186) (2 of 9 runs)",
            "potência do momento (campo 186) (2 de 9 execuções)",
        ),
        ("x; no energy: short; too short; y", "x; sem energia: curto; y"),
        ("no energy: short; too short; Board: y", "sem energia: curto; Placa: y"),
        ("nobody knows this: 1.5", "nobody knows this: 1,5"),
        ("", ""),
    ],
)
def test_sentences_are_translated_as_far_as_they_are_known(frontend, said, translated):
    call = """async ([templates, text]) => {
        const { createMessages } = await import("/extensions/wattbench/messages.js");
        const { decimal } = await import("/extensions/wattbench/format.js");
        return createMessages(templates, (value) => decimal("pt-BR", value))(text);
    }"""
    assert frontend.page.evaluate(call, [TEMPLATES, said]) == translated
