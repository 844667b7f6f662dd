"""Runs that have not been made, as laws take them from tables."""

import pandas as pd

from wattbench import law


def frame_of(*shape, **options):
    """One row, of the arguments of ``law.planned``."""
    frame = pd.DataFrame([law.planned(*shape, **options)])
    frame["context_rows"] = pd.array([None], dtype="Int64")
    return frame
