"""What lies in results/ is sound: bundles, one of each, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from wattbench.sharing.bundle import Bundle, BundleError, read_bundle
from wattbench.sharing.verify import verify

RESULTS = Path(__file__).parents[2] / "results"


def faults_of(folder):
    """What is wrong with a folder of bundles, a sentence each."""
    found, known = [], {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path == folder / "README.md":
            continue
        if path.suffix != ".zip":
            found.append(f"{path.name} is no bundle's name")
            continue
        try:
            bundle = read_bundle(path)
        except BundleError as error:
            found.append(str(error))
            continue
        found += [f"{path.name}: {fault}" for fault in verify(bundle.runs).faults]
        if not bundle.runs:
            found.append(f"{path.name} holds no run")
        for run in bundle.runs:
            if known.setdefault(run.run_id, path.name) != path.name:
                found.append(f"{path.name} has run {run.run_id} of {known[run.run_id]}")
    return found


def test_every_bundle_of_the_project_is_verified():
    assert faults_of(RESULTS) == []
    assert (RESULTS / "README.md").is_file()


@pytest.fixture
def folder(tmp_path, sampled_run):
    """A folder with a sound bundle."""
    Bundle.of([sampled_run("a1")]).write(tmp_path / "moth.zip")
    assert faults_of(tmp_path) == []
    return tmp_path


def test_what_is_wrong_would_be_found(folder, sampled_run):
    (folder / "notes.txt").write_text("x", "utf-8")
    assert faults_of(folder) == ["notes.txt is no bundle's name"]
    (folder / "notes.txt").unlink()

    whole = (folder / "moth.zip").read_bytes()
    (folder / "moth.zip").write_bytes(whole.replace(b"bundle.json", b"bundle.jsom"))
    [fault] = faults_of(folder)
    assert "no bundle" in fault
    (folder / "moth.zip").write_bytes(whole)

    run = sampled_run("a2")
    false = replace(run, energy=replace(run.energy, energy_j=1.0))
    Bundle.of([false]).write(folder / "owl.zip")
    [fault] = faults_of(folder)
    assert fault.startswith("owl.zip: run a2: its energy is 1 J")

    Bundle.of([sampled_run("a1"), sampled_run("a2")]).write(folder / "owl.zip")
    assert faults_of(folder) == ["owl.zip has run a1 of moth.zip"]
    Bundle.of([]).write(folder / "owl.zip")
    assert faults_of(folder) == ["owl.zip holds no run"]
