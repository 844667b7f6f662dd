"""What ``tasks.py mutate`` plants faults in, and which tests are to notice."""

import pytest

from .repository_tools import ROOT, mutation, shell, tasks


@pytest.mark.parametrize(
    ("path", "files", "tests"),
    [
        ("measure/energy", "wattbench/measure/energy/*", "tests/measure"),
        ("law/cost.py", "wattbench/law/cost.py", "tests/law"),
        ("stats.py", "wattbench/stats.py", "tests/test_stats.py"),
    ],
)
def test_a_module_is_noticed_by_the_tests_of_its_room(path, files, tests):
    assert (mutation.mutated_files(path), mutation.tests_of(path)) == (files, tests)
    assert (ROOT / tests).exists()


def test_what_is_not_there_is_said():
    with pytest.raises(shell.SetupError, match="no_such is no file or folder"):
        mutation.mutated_files("no_such")


def test_other_tests_may_be_named():
    args = tasks.parse_args(["mutate", "law", "stats.py", "--", "tests/law/test_cost.py"])
    assert (args.paths, args.pytest) == (["law", "stats.py"], ["tests/law/test_cost.py"])
