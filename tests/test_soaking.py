"""What leaves the gate is run by the soak."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def said(soak, *arguments):
    """The lines of a pytest in a process of its own, in a soak or not."""
    own = {"WATTBENCH_SOAK", "PYTEST_ADDOPTS"}
    environment = {name: text for name, text in os.environ.items() if name not in own}
    environment |= {"WATTBENCH_SOAK": os.devnull} if soak else {}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        env=environment,
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_soak_leaves_out_what_has_no_long_form_and_nothing_else():
    files = ("fleet/test_deaths.py", "fleet/test_cards.py", "faults/test_journal_fuzz.py")
    found = [line for line in said(True, "--collect-only", *files) if "::" in line]
    assert any("test_a_plan_outlives_the_death" in line for line in found)
    assert any("test_one_byte_costs_one_run_at_most" in line for line in found)
    assert not any("test_cards.py" in line for line in found)


def test_what_is_too_long_for_the_gate_is_skipped_with_its_reason():
    reason = "test_on_ray.py carries a plan out on two nodes: `python tasks.py soak`"
    found = [line for line in said(False, "-rs", "fleet/test_deaths.py") if reason in line]
    assert [line.split()[0] for line in found] == ["SKIPPED"] * len(found) != []
