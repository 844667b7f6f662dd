"""How long the law takes: a fit of 100 000 rows (goal 1 s), one prediction (goal 5 ms).

python benchmarks/law.py
"""

from __future__ import annotations

import time

import pandas as pd

from wattbench.measure import law

ROWS = 100_000
REPEATS = 5


def best_of(call) -> float:
    """Shortest wall time in seconds: what else runs here only adds to it."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def predict_one(fitted: law.OperatorLaw) -> None:
    """As a node would: from the widgets' values to joules."""
    frame = law.planned("flux", "A100", 1024, 1024, 20)
    fitted.predict(frame)


def main() -> None:
    study = law.study().frame
    many = pd.concat([study] * (ROWS // len(study) + 1), ignore_index=True).head(ROWS)
    fitted = law.fit_operators(study)
    law.fit_equation3(study)
    print(f"equation 3, fit of {ROWS} rows: {best_of(lambda: law.fit_equation3(many)):.3f} s")
    print(f"operator law, fit of {ROWS} rows: {best_of(lambda: law.fit_operators(many)):.3f} s")
    print(f"operator law, fit of the study: {best_of(lambda: law.fit_operators(study)):.3f} s")
    print(f"one prediction: {1e3 * best_of(lambda: predict_one(fitted)):.2f} ms")


if __name__ == "__main__":
    main()
