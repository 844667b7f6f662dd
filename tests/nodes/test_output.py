"""Runs leave the graph as files that the prompt lists, and as a table."""

import pandas as pd
import pytest


@pytest.fixture
def output(comfyui):
    from wattbench.nodes import output

    return output


def test_export_lists_its_files(output, workspace_folder, make_run):
    result = output.WattBenchExportCSV.execute((make_run("a"), make_run("b")), "my/tables")
    files = result.ui["files"]
    assert [file["filename"] for file in files] == ["runs.csv", "summary.csv", "report.md"]
    assert {(file["subfolder"], file["type"]) for file in files} == {("my/tables", "output")}
    (text,) = result.ui["text"]
    assert text == "2 runs went into output/my/tables: runs.csv, summary.csv, report.md"
    assert len(pd.read_csv(workspace_folder / "my" / "tables" / "runs.csv")) == 2


@pytest.mark.parametrize("name", ["WattBenchExportCSV", "WattBenchExportReport"])
@pytest.mark.parametrize("folder", ["..", "../elsewhere", "/etc", "a/../../b"])
def test_export_stays_within_the_output_folder(output, workspace_folder, make_run, folder, name):
    with pytest.raises(ValueError, match="outside of ComfyUI's output folder"):
        getattr(output, name).execute((make_run(),), folder)


@pytest.mark.parametrize(("language", "title"), [("en", "Verdict"), ("pt-BR", "Veredito")])
def test_a_report_is_a_page_of_the_runs(output, workspace_folder, make_run, language, title):
    result = output.WattBenchExportReport.execute((make_run("a"), make_run("b")), "my", language)
    assert [file["filename"] for file in result.ui["files"]] == ["report.html"]
    page = (workspace_folder / "my" / "report.html").read_text("utf-8")
    assert title in page
    assert f'lang="{language}"' in page


def test_a_report_that_cannot_be_made_fails_no_prompt(
    output, workspace_folder, make_run, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    shown = []
    monkeypatch.setattr(type(output.HOST), "show", lambda self, text: shown.append(text))
    assert output.WattBenchExportReport.execute((make_run(),), "my").ui is None
    assert shown == [
        "a page needs Jinja2 and matplotlib, and here is no jinja2: pip install jinja2 matplotlib"
    ]
    assert not (workspace_folder / "my").exists()


def test_an_unwritable_folder_names_the_journal(output, workspace_folder, make_run):
    workspace_folder.mkdir(parents=True)
    (workspace_folder / "blocked").write_text("a file, where a folder should be")
    with pytest.raises(OSError, match=r"Nothing is lost: .*journal\.jsonl"):
        output.WattBenchExportCSV.execute((make_run(),), "blocked")


def test_summary_is_text_for_the_node(output, make_run):
    result = output.WattBenchShowSummary.execute((make_run("a"), make_run("b")))
    (table,) = result.ui["wattbench_summary"]
    assert table["headings"][0] == "Condition"
    assert len(table["rows"]) == 1
    assert all(isinstance(cell, str) for cell in table["rows"][0])
