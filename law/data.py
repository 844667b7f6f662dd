"""Energy tables in, one kind of table out: a row is what was run and the joules it took.

Two layouts are read: the published study's (``model,gpu,resolution,...``) and WattBench's
``runs.csv``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..tables.csv import is_blank, read_frame
from .flop import ALIASES, DEFAULT_TEXT_TOKENS, FORMULAS, function_evaluations, model_calls

if TYPE_CHECKING:
    import pandas as pd

DATA = Path(__file__).parent / "data"
STUDY_CSV = DATA / "energy_a100.csv"
PUBLISHED_CSV = DATA / "scaling_law_published.csv"
EDGE_NODES_CSV = DATA / "edge_nodes.csv"
QUANT_BENCH_CSV = DATA / "quant_bench_rtx_pro_6000.csv"

STUDY_COLUMNS = ("model", "gpu", "resolution", "steps", "dtype", "cfg", "prompts", "energy_j")
RUN_COLUMNS = (
    "architecture", "model", "weights", "weight_format", "width_px", "height_px", "batch_size",
    "steps", "nfe", "cfg", "sampler", "is_warmup", "error", "gpu_name", "energy_j", "energy_meter",
    "energy_method", "text_encode_time_s", "denoise_time_s", "decode_time_s", "attention",
    "optimizations", "power_limit_w",
)  # fmt: skip
UNKNOWN_TO_LAWS = ("attention", "optimizations", "power_limit_w")
"""Columns that change a run's energy and are in no law."""

STUDY_CONTEXT_ROWS = {"flux": 512, "qwen_image": 12, "sd35": 333, "sd2": 77}
"""Rows of text in the study's pipelines (arXiv 2511.17031v2, Tables 3 and 5)."""
STUDY_SEQUENTIAL_GUIDANCE = frozenset({"flux", "qwen_image"})
"""Models whose guidance was a second pass there; the others doubled the batch (section 4.3)."""

SIXTEEN_BIT = frozenset({"fp16", "bf16"})
UNMEASURED = frozenset({"estimated", "simulated"})
"""Methods of an energy that is no measurement."""

Energy = Literal["gross", "net", "denoise"]
"""What a law's joules are: of the whole run, the same less idle power, or of denoising alone."""
ENERGY_COLUMNS: Mapping[Energy, str] = {
    "gross": "energy_j",
    "net": "energy_net_j",
    "denoise": "denoise_energy_j",
}


Array: TypeAlias = NDArray[Any]


BUSY = "gpu_busy_share"
HOST_BOUND, HOST_FREE = 0.5, 0.8
"""Below the first a run's cost is the host's and its rows are left out; below the second that is
said."""


ASKED = ("width_px", "height_px", "batch_size", "cfg")
MOST = 1e6
"""No size, count or guidance of a run comes near."""


class LawDataError(ValueError):
    """The table cannot be used for a law; the message says why and what to do."""


@dataclass(frozen=True)
class Observations:
    """``frame`` has a row per measurement; ``notes`` say which rows were left out, and why.

    Columns: architecture, gpu, dtype (``fp16``, which stands for every 16-bit format, ``fp32``, or
    a quantized format's own name), width_px, height_px, nfe, calls (model passes per evaluation),
    guidance (``batched`` or ``sequential``), batch_size, text_tokens, context_rows (missing: as
    ComfyUI pads), images, energy_j and duration_s (missing where not measured), both for all the
    images of the row and of what ``energy`` says.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    basis: str = "measured"
    """``measured``, or what else the energies of some rows are: ``estimated``, ``simulated``."""
    energy: Energy = "gross"


def read_table(path: Path, where: tuple[str, ...] = ()) -> pd.DataFrame:
    """A CSV file, restricted to the rows of :func:`rows_where`.

    Raises:
        LawDataError: no such file, not a table, a condition that is none, or no row left.
    """
    try:
        table = read_frame(path)
    except FileNotFoundError as error:
        raise LawDataError(f"there is no file {path}") from error
    except ValueError as error:
        raise LawDataError(str(error)) from error
    table = table[rows_where(table, where)]
    if table.empty:
        raise LawDataError(f"no row of {path} is left under {', '.join(where) or 'its header'}")
    return table


def rows_where(table: pd.DataFrame, where: Sequence[str]) -> pd.Series:
    """Which rows have in their columns the values of ``where`` (``name=value``).

    Several values of one column are alternatives.

    Raises:
        LawDataError: a condition that is none.
    """
    import pandas as pd

    by_column: dict[str, pd.Series] = {}
    for condition in where:
        column, separator, value = condition.partition("=")
        if not separator or column not in table:
            raise LawDataError(
                f"cannot filter by {condition!r}: write column=value with one of the columns "
                f"{', '.join(map(str, table.columns))}"
            )
        mask = _equals(table[column], value)
        by_column[column] = by_column[column] | mask if column in by_column else mask
    chosen = pd.Series(data=True, index=table.index)
    for mask in by_column.values():
        chosen &= mask
    return chosen


def _equals(column: pd.Series, value: str) -> pd.Series:
    """Text equality, except that numbers are equal as numbers (``cfg=7`` finds 7.0).

    Nothing finds blank cells.
    """
    import pandas as pd

    if not value:
        return column.isna()
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.astype(str) == value
    try:
        return column == float(value)
    except ValueError as error:
        raise LawDataError(f"{column.name} holds numbers, {value!r} is none") from error


def observations(
    table: pd.DataFrame, allow_unmeasured: bool = False, energy: Energy | None = None
) -> Observations:
    """The usable rows of a table in either layout.

    ``allow_unmeasured`` keeps energies that were estimated or simulated. ``energy`` is gross by
    default, and net for the published study, which has nothing else.

    Raises:
        LawDataError: neither layout, an architecture without a formula, an energy that the table
            does not have, or no usable row.
    """
    if set(STUDY_COLUMNS) <= set(table):
        if energy not in (None, "net"):
            raise LawDataError(
                f"the published study's energies are net of idle power, there are no {energy} ones"
            )
        return _checked(Observations(_from_study(table), energy="net"))
    energy = energy or "gross"
    needed = dict.fromkeys((*RUN_COLUMNS, ENERGY_COLUMNS[energy]))
    missing = [column for column in needed if column not in table]
    if missing:
        raise LawDataError(
            "neither a runs.csv of WattBench (it lacks "
            f"{', '.join(missing)}) nor a table with the columns {', '.join(STUDY_COLUMNS)}"
        )
    return _checked(_from_runs(table, allow_unmeasured, energy))


def study() -> Observations:
    """The published A100 measurements."""
    return observations(read_table(STUDY_CSV))


def planned(
    architecture: str,
    gpu: str,
    width_px: int,
    height_px: int,
    steps: int,
    *,
    dtype: str = "fp16",
    cfg: float = 1.0,
    sampler: str = "euler",
    batch_size: int = 1,
    text_tokens: int = DEFAULT_TEXT_TOKENS,
) -> dict[str, Any]:
    """A run that has not been made, for :meth:`.operators.OperatorLaw.predict_one`.

    Raises:
        UnknownNfeError: a sampler whose evaluations cannot be told beforehand.
        LawDataError: an architecture without a formula.
    """
    name = ALIASES.get(architecture, architecture)
    _refuse_unformulated([name])
    return {
        "architecture": name,
        "gpu": gpu,
        "dtype": "fp16" if dtype in SIXTEEN_BIT else dtype,
        "width_px": width_px,
        "height_px": height_px,
        "nfe": function_evaluations(sampler, steps),
        "calls": model_calls(sampler, cfg),
        "guidance": "batched",
        "batch_size": batch_size,
        "text_tokens": text_tokens,
        "context_rows": None,
        "images": batch_size,
    }


def per_shape(
    frame: pd.DataFrame,
    columns: Sequence[str],
    value: Callable[[Mapping[str, Any]], float | Sequence[float]],
) -> Array:
    """``value`` of every row's ``columns``, computed once for rows that share them.

    Numbers arrive as Python integers, a missing ``context_rows`` as ``None``.
    """
    names = list(columns)
    group = frame.groupby(names, dropna=False, sort=False).ngroup().to_numpy()
    firsts = frame.loc[~frame.duplicated(names), names]
    shapes = firsts.astype(object).where(firsts.notna(), None).to_dict("records")
    values = [
        value({str(k): v if v is None or isinstance(v, str) else int(v) for k, v in shape.items()})
        for shape in shapes
    ]
    return np.asarray(values, dtype=float)[group]


def _from_study(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    architecture = table["model"].map(lambda name: ALIASES.get(name, name))
    guided = table["cfg"].astype(bool)
    sequential = architecture.isin(STUDY_SEQUENTIAL_GUIDANCE)
    return pd.DataFrame(
        {
            "architecture": architecture,
            "gpu": table["gpu"],
            "dtype": table["dtype"],
            "width_px": table["resolution"],
            "height_px": table["resolution"],
            "nfe": table["steps"],
            "calls": guided.map({False: 1, True: 2}),
            "guidance": sequential.map({False: "batched", True: "sequential"}),
            "batch_size": 1,
            "text_tokens": DEFAULT_TEXT_TOKENS,
            "context_rows": architecture.map(STUDY_CONTEXT_ROWS).astype("Int64"),
            "images": table["prompts"],
            "energy_j": table["energy_j"].astype(float),
            "duration_s": float("nan"),
        }
    ).reset_index(drop=True)


def _from_runs(table: pd.DataFrame, allow_unmeasured: bool, energy: Energy) -> Observations:
    import pandas as pd

    notes: list[str] = []

    def keep(mask: pd.Series, reason: str) -> None:
        nonlocal table
        mask = mask.reindex(table.index).fillna(value=False).astype(bool)
        if not mask.all():
            notes.append(f"{int((~mask).sum())} rows left out: {reason}")
        table = table[mask]

    column = ENERGY_COLUMNS[energy]
    times = ["text_encode_time_s", "denoise_time_s", "decode_time_s"]
    table = _with_numbers(table, (*ASKED, "nfe", "steps", column, *times))
    keep(~table["is_warmup"].astype(bool), "warm-up")
    keep(is_blank(table["error"]), "the run failed")
    reason = "no energy was measured" if energy == "gross" else f"it has no {column}"
    keep(table[column].notna(), reason)
    if not allow_unmeasured:
        reason = "the energy is estimated or simulated (--allow-unmeasured keeps it)"
        keep(~table["energy_method"].isin(UNMEASURED), reason)
    tiny = (table["weights"] == "synthetic") & table["model"].astype(str).str.endswith(" tiny")
    keep(~tiny, "a tiny synthetic model is not the size that its architecture's formula counts")
    known = table["architecture"].map(lambda name: ALIASES.get(name, name))
    keep(known.isin(list(FORMULAS)), "no FLOP formula for the architecture")
    asked = table[list(ASKED)].assign(nfe=table["nfe"].fillna(table["steps"]))
    keep(asked.notna().all(axis=1), "its size, steps, batch or cfg is not known")
    counts = asked.drop(columns="cfg")
    possible = ((counts >= 1) & (counts <= MOST)).all(axis=1) & asked["cfg"].between(0, MOST)
    keep(possible, "its size, steps, batch or cfg is none that a run can have")
    waited = _busy_shares(table) < HOST_BOUND
    keep(~waited, "the card waited for the host most of the time, which no law knows")
    notes += _mixture(table)
    phases = table[["denoise_time_s"] if energy == "denoise" else times]
    frame = pd.DataFrame(
        {
            "architecture": known.reindex(table.index),
            "gpu": _device_names(table),
            "dtype": table["weight_format"].map(lambda f: "fp16" if f in SIXTEEN_BIT else f),
            "width_px": table["width_px"].astype(int),
            "height_px": table["height_px"].astype(int),
            "nfe": asked["nfe"].reindex(table.index).astype(int),
            "calls": [
                model_calls(str(sampler), float(cfg))
                for sampler, cfg in zip(table["sampler"], table["cfg"], strict=True)
            ],
            "guidance": "batched",
            "batch_size": table["batch_size"].astype(int),
            "text_tokens": DEFAULT_TEXT_TOKENS,
            "context_rows": pd.array([None] * len(table), dtype="Int64"),
            "images": table["batch_size"].astype(int),
            "energy_j": table[column].astype(float),
            "duration_s": phases.where(phases > 0).sum(axis=1, skipna=False),
        }
    )
    methods = sorted(set(table["energy_method"]) & set(UNMEASURED))
    basis = " and ".join(methods) or "measured"
    return Observations(frame.reset_index(drop=True), tuple(notes), basis, energy)


def _with_numbers(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The table with these columns as numbers; one that is infinite is blank.

    Raises:
        LawDataError: a cell is something else.
    """
    import pandas as pd

    found = {}
    for name in dict.fromkeys(names):
        try:
            numbers = pd.to_numeric(table[name]).astype("float64")
        except (TypeError, ValueError) as error:
            raise LawDataError(f"{name} has a cell that is no number: {error}") from error
        found[name] = numbers.where(np.isfinite(numbers))
    return table.assign(**found)


def _mixture(table: pd.DataFrame) -> list[str]:
    """What the rows differ in although the law takes them for alike.

    Raises:
        LawDataError: their energies are of several meters.
    """
    meters = sorted(set(table["energy_meter"].dropna()))
    if len(meters) > 1:
        raise LawDataError(
            f"energies of several meters: {', '.join(meters)}; choose one with "
            "--where energy_meter=…"
        )
    notes = []
    least = _busy_shares(table).min()
    if least < HOST_FREE:
        notes.append(
            f"the card waited for the host (least {BUSY} {least:.2g}), which no law knows: it "
            "tells of this host as much as of the card"
        )
    varied = [name for name in UNKNOWN_TO_LAWS if table[name].nunique(dropna=False) > 1]
    if not varied:
        return notes
    return [
        *notes,
        f"the rows differ in {', '.join(varied)}, which no law knows: choose with --where",
    ]


def _busy_shares(table: pd.DataFrame) -> pd.Series:
    """In what share of the denoising the card had work; blank where that is not known."""
    import pandas as pd

    blank = pd.Series(float("nan"), index=table.index)
    return table[BUSY].astype(float) if BUSY in table else blank


def _device_names(table: pd.DataFrame) -> pd.Series:
    """The GPU of each row, or the CPU where it ran on none."""
    names = table["gpu_name"].astype(object).fillna("").astype(str)
    if "cpu_name" in table:
        names = names.where(names != "", table["cpu_name"].astype(object).fillna("").astype(str))
    return names.where(names != "", "a card without a name")


def _checked(found: Observations) -> Observations:
    if found.frame.empty:
        raise LawDataError("no usable row: " + ("; ".join(found.notes) or "the table is empty"))
    _refuse_unformulated(found.frame["architecture"])
    energies_j = found.frame["energy_j"]
    if not ((energies_j > 0) & np.isfinite(energies_j)).all():
        raise LawDataError("an energy that is not positive has no logarithm; drop those rows")
    return found


def _refuse_unformulated(architectures: Iterable[str]) -> None:
    unknown = sorted(set(architectures) - set(FORMULAS))
    if unknown:
        raise LawDataError(
            f"no FLOP formula for {', '.join(unknown)}; there are {', '.join(FORMULAS)}"
        )
