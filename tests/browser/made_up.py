"""Results that no run gives, for what a page must do with any."""

from wattbench.report.summary import HEADINGS

SUMMARY = {
    "headings": list(HEADINGS),
    "rows": [
        [
            f"model {i}, 1024x1024 | <img src=x>",
            "10",
            "1.00 ± 0.01",
            "—",
            "2",
            "5 ± 1",
            "7",
            "8",
            "nvml",
        ]
        for i in range(5)
    ],
    "notes": ["a note"],
}
"""Five conditions of a summary, or layers of a table."""

SERIES = {
    "step_times_s": [0.5, 1, 0.75],
    "repeats": [
        {"unit": "img/s", "values": [1, 3], "mean": 2, "low": 0, "high": 4},
        {"unit": "J/img", "values": [400], "mean": 400, "low": None, "high": None},
    ],
}
"""What charts show of one condition."""
