"""Which tests `python tasks.py soak` runs: those that are short, or not at all, in the gate.

In the gate a test with the mark ``soak`` is skipped, with the reason that its mark gives. A soak
runs those, and each test that has a long form: it asks for ``soaks`` or ``figures``, or tries
examples of Hypothesis.
"""

import os

import pytest
from hypothesis import is_hypothesis_test

SOAKS = "WATTBENCH_SOAK" in os.environ
MARK = "soak(reason): takes minutes; only `python tasks.py soak` runs it"
LONG_FORMS = {"soaks", "figures"}


def in_gate(values, chosen, reason):
    """``values`` for ``parametrize``; those that are not ``chosen`` are left to the soak."""
    assert set(chosen) <= set(values)
    mark = pytest.mark.soak(reason)
    return [value if value in chosen else pytest.param(value, marks=mark) for value in values]


def choose(config, items):
    """Skip what is too long for the gate; in a soak, leave out what has no long form."""
    if SOAKS:
        left_out = [item for item in items if not has_long_form(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if has_long_form(item)]
        return
    for item in items:
        for mark in item.iter_markers("soak"):
            item.add_marker(pytest.mark.skip(f"{mark.args[0]}: `python tasks.py soak`"))


def has_long_form(item):
    is_marked = item.get_closest_marker("soak") is not None
    is_tried = is_hypothesis_test(getattr(item, "obj", None))
    return is_marked or is_tried or bool(LONG_FORMS & set(item.fixturenames))
