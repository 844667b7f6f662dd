"""The energy law: joules of a run before it is made.

``equation3`` is the published law, ``operators`` the one that holds for all architectures,
``calibration`` fits it to a card of one's own, ``cards`` has those with published data,
``forecast`` tells what a run will take, ``reproduce`` sets both laws beside what was published.
"""

from __future__ import annotations

from .calibration import Calibration, calibrate, load, published_card, published_law, save
from .cards import Card, card_named, card_of
from .data import LawDataError, Observations, observations, planned, read_table, study
from .equation3 import Equation3
from .equation3 import fit as fit_equation3
from .forecast import Forecast, forecast_run, sentence
from .operators import OperatorLaw
from .operators import fit as fit_operators
from .scores import Scores, held_out, k_fold, leave_one_out, score

__all__ = [
    "Calibration",
    "Card",
    "Equation3",
    "Forecast",
    "LawDataError",
    "Observations",
    "OperatorLaw",
    "Scores",
    "calibrate",
    "card_named",
    "card_of",
    "fit_equation3",
    "fit_operators",
    "forecast_run",
    "held_out",
    "k_fold",
    "leave_one_out",
    "load",
    "observations",
    "planned",
    "published_card",
    "published_law",
    "read_table",
    "save",
    "score",
    "sentence",
    "study",
]
