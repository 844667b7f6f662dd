"""The lines of docs/method.md make the intervals of summary.csv again from runs.csv."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from wattbench.report import write_all

PAGE = Path(__file__).parent.parent / "docs" / "method.md"


@pytest.mark.parametrize("visits", [1, 3])
def test_the_script_of_the_page_makes_the_intervals_again(tmp_path, make_run, visits):
    other = replace(make_run().condition, attention="sage_2")
    runs = [
        make_run(
            f"{condition.attention}{number}",
            denoise_s=10.0 + number**2 / 10,
            condition=condition,
            seed=number,
            visit=1 + number % visits,
            not_counted="it stood still" if number == 8 else "",
            is_warmup=number == 7,
        )
        for condition in (make_run().condition, other)
        for number in range(9)
    ]
    write_all(runs, tmp_path)
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "runs.csv"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line.split(" ", 2) for line in done.stdout.splitlines()]
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert [name for *_, name in found] == list(summary["condition"])
    for (mean, half, _), row in zip(found, summary.to_dict("records"), strict=True):
        assert float(mean) == pytest.approx(row["j_per_img_mean"], rel=1e-5)
        assert float(half) == pytest.approx(row["j_per_img_ci95"], rel=1e-5)
        assert (row["n"], row["visits"]) == (7, visits)
