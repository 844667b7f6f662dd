"""How long the law takes: a fit of 100 000 rows (goal 1 s), one prediction (goal 5 ms).

    python benchmarks/law.py

It needs neither ComfyUI nor torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pandas as pd
from pack import import_pack

wattbench = import_pack()
law, cost, records = map(wattbench, ("law", "law.cost", "records"))

CONDITION = records.Condition(
    "sdxl", "sdxl", "file", "sdpa", "fp16", 1024, 1024, 1, 30, 7.0, "euler", "normal"
)
ROWS = 100_000
REPEATS = 5


def best_of(call: Callable[[], object]) -> float:
    """Shortest wall time in seconds: what else runs here only adds to it."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def forecast() -> str:
    """As the node does: from a device's name and the widgets' values to its text."""
    card = law.card_of("NVIDIA GeForce RTX 3090")
    return law.sentence(law.forecast_run(CONDITION, 30, card), cost.Tariff(100.0, 0.3))


def main() -> None:
    study = law.study().frame
    many = pd.concat([study] * (ROWS // len(study) + 1), ignore_index=True).head(ROWS)
    law.fit_equation3(study)
    print(f"equation 3, fit of {ROWS} rows: {best_of(lambda: law.fit_equation3(many)):.3f} s")
    print(f"operator law, fit of {ROWS} rows: {best_of(lambda: law.fit_operators(many)):.3f} s")
    print(f"operator law, fit of the study: {best_of(lambda: law.fit_operators(study)):.3f} s")
    print(f"one forecast, as in the node: {1e3 * best_of(forecast):.2f} ms")


if __name__ == "__main__":
    main()
