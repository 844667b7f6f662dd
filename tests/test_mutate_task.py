"""What ``tasks.py mutate`` plants faults in, and which tests are to notice."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("tasks", ROOT / "tasks.py")
tasks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tasks)


@pytest.mark.parametrize(
    ("path", "files", "tests"),
    [
        ("measure/energy", "wattbench/measure/energy/*", "tests/measure"),
        ("law/cost.py", "wattbench/law/cost.py", "tests/law"),
        ("stats.py", "wattbench/stats.py", "tests/test_stats.py"),
    ],
)
def test_a_module_is_noticed_by_the_tests_of_its_room(path, files, tests):
    assert (tasks.mutated_files(path), tasks.tests_of(path)) == (files, tests)
    assert (ROOT / tests).exists()


def test_what_is_not_there_is_said():
    with pytest.raises(tasks.SetupError, match="no_such is no file or folder"):
        tasks.mutated_files("no_such")


def test_other_tests_may_be_named():
    args = tasks.parse_args(["mutate", "law", "stats.py", "--", "tests/law/test_cost.py"])
    assert (args.paths, args.pytest) == (["law", "stats.py"], ["tests/law/test_cost.py"])
