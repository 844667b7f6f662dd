"""``wattbench law``: fit, check and use the law that predicts energy from FLOPs."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CommandError, UsageError
from . import law_card, law_plan, law_validate
from .law_card import CONFIDENCE, warn

if TYPE_CHECKING:
    from ..law import Equation3, Observations, OperatorLaw
    from ..records import Prediction

SETTINGS = (
    "architecture", "width", "height", "steps", "cfg", "sampler", "batch_size", "dtype",
    "text_tokens",
)  # fmt: skip
TABLE_HELP = "a runs.csv of WattBench, or a table with the columns of the published study"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "law",
        help="predict energy from FLOPs",
        description="The law of energy from FLOPs: fit it, check it against the published one, "
        "calibrate it to this card, predict with it.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fit = actions.add_parser(
        "fit",
        help="fit the published equation to a table",
        description="Fit equation 3 of arXiv 2511.17031 (log kWh against log GFLOPs).",
    )
    _add_table(fit)
    fit.add_argument("--convention", choices=("paper", "exact"), default="paper")
    fit.add_argument("--json", action="store_true", help="machine-readable output")
    reproduce = actions.add_parser(
        "reproduce", help="every published table and figure that the published data allow"
    )
    reproduce.add_argument("--out", type=Path, metavar="DIR", help="write energy-law.md and plots")
    reproduce.add_argument("--no-plots", action="store_true")
    calibrate = actions.add_parser("calibrate", help="fit the law to your own runs on one card")
    _add_table(calibrate)
    calibrate.add_argument("--out", type=Path, metavar="FILE", help="the card, for law predict")
    predict = actions.add_parser("predict", help="what a run will cost, with an interval")
    law_card.add_run_arguments(predict)
    law_card.add_tariff_arguments(predict)
    predict.add_argument(
        "--text-tokens", type=law_card.tokens, metavar="N", help="of the prompt (default: 12)"
    )
    predict.add_argument("--confidence", type=law_card.fraction, default=CONFIDENCE)
    predict.add_argument("--json", action="store_true", help="machine-readable output")
    validate = actions.add_parser(
        "validate",
        help="how well a law fitted to some runs predicts others",
        description="Fit a law to some rows, predict others, and compare: R², MAE, MAPE, Pearson, "
        "Spearman and how often the 90%% interval holds the measurement, by model and by card.",
    )
    _add_table(validate)
    law_validate.add_arguments(validate)
    law_plan.register(actions)


def run(args: argparse.Namespace) -> int:
    """What the data cannot answer is a usage error: the message says what to give instead."""
    actions = {
        "fit": _fit,
        "reproduce": _reproduce,
        "calibrate": _calibrate,
        "predict": _predict,
        "validate": law_validate.validate,
        "plan": law_plan.plan,
        "breakeven": law_plan.breakeven,
    }
    try:
        return actions[args.action](args)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise CommandError(f"cannot write: {error}") from error


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="CSV", help=TABLE_HELP)
    parser.add_argument(
        "--where",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN=VALUE",
        help="use only rows with these values, for example model=flux",
    )
    parser.add_argument(
        "--allow-unmeasured",
        action="store_true",
        help="use estimated and simulated energies too; the result is then no measurement",
    )
    parser.add_argument(
        "--energy",
        choices=("net", "denoise", "gross"),
        help="energy_net_j (less idle power), denoise_energy_j or energy_j of a runs.csv; default: "
        "gross, and net for the published study, which has nothing else",
    )


def _observations(args: argparse.Namespace) -> Observations:
    from ..law import observations, read_table

    table = read_table(args.table, tuple(args.where))
    found = observations(table, args.allow_unmeasured, args.energy)
    warn(found.notes)
    return found


def _fit(args: argparse.Namespace) -> int:
    from ..law import fit_equation3

    found = _observations(args)
    if found.energy == "gross":
        warn(("gross energies: equation 3 is about net ones, idle power bends it (--energy net)",))
    fitted = fit_equation3(found.frame, args.convention)
    facts = {**_fit_facts(fitted), "energy": found.energy}
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    errors = facts["standard_errors"]
    print(
        f"log(E/kWh) by log(GFLOPs), {args.convention} convention, {found.energy} energies, base "
        f"GPU {fitted.base_gpu}"
    )
    for name, value in facts["coefficients"].items():
        for label, one in value.items() if isinstance(value, dict) else [("", value)]:
            full = f"{name}:{label}" if label else name
            error = errors[full]
            spread = "not in the fit" if error is None else f"± {error:.4f} (standard error)"
            print(f"  {full:18} {one:9.4f}  {spread}")
    scores = fitted.scores
    print(
        f"R² {scores.r2:.4f}, n {scores.n}, MAPE {scores.mape:.1%}, MAE {scores.mae_j:,.0f} J, "
        f"Pearson {scores.pearson:.4f}, Spearman {scores.spearman:.4f} (R², Pearson: log energies)"
    )
    return 0


def _fit_facts(fitted: Equation3) -> dict[str, Any]:
    """A term that the data cannot tell is not in the fit, which is a coefficient of 0."""
    plain = ("log_a", "alpha", "beta_dtype", "beta_res")
    gpus = [gpu for gpu in fitted.gpus if gpu != fitted.base_gpu]
    values = {name: fitted.coefficient(name) for name in plain}
    by_gpu = {gpu: fitted.coefficient(f"beta_gpu:{gpu}") for gpu in gpus}
    coefficients: dict[str, Any] = {name: c.value or 0.0 for name, c in values.items()}
    coefficients["beta_gpu"] = {gpu: c.value for gpu, c in by_gpu.items()}
    errors = {name: c.standard_error for name, c in values.items()}
    errors.update({f"beta_gpu:{gpu}": c.standard_error for gpu, c in by_gpu.items()})
    scores = fitted.scores
    return {
        "coefficients": coefficients,
        "r2": scores.r2,
        "n": scores.n,
        "standard_errors": errors,
        "not_in_fit": [name for name, c in values.items() if c.value is None],
        "convention": fitted.convention,
        "base_gpu": fitted.base_gpu,
        "residual_stdev": fitted.residual_stdev,
        "mape": scores.mape,
        "mae_j": scores.mae_j,
        "pearson": scores.pearson,
        "spearman": scores.spearman,
    }


def _reproduce(args: argparse.Namespace) -> int:
    from ..law import study
    from ..law.plots import write_plots
    from ..law.reproduce import markdown, tables
    from ..tables.figure import PlotsUnavailableError

    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
    frame = study().frame
    report = tables(frame)
    if args.out is None:
        print(markdown(report), end="")
        return 0
    pictures: tuple[tuple[str, str], ...] = ()
    if not args.no_plots:
        try:
            pictures = write_plots(frame, args.out)
        except PlotsUnavailableError as error:
            warn((f"{error}; the tables are written without them",))
    target = args.out / "energy-law.md"
    target.write_text(markdown(report, pictures), encoding="utf-8")
    print(target)
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from ..law import calibrate, published_law, save

    published = published_law()
    found = _observations(args)
    energy = calibrate(found, published)
    laws: dict[Any, OperatorLaw] = {"J": energy.law}
    if found.frame["duration_s"].notna().all():
        laws["s"] = calibrate(found, published, unit="s").law
    else:
        warn(("no law of time: not every run has the time of every phase",))
    warn(tuple(note for note in energy.warnings if note not in found.notes))
    for unit, law in laws.items():
        print(
            f"{law.domain.gpu}, {law.n} distinct conditions, {law.energy} energies, law of {unit}:"
        )
        factors = law.factors(CONFIDENCE)
        for name, value in law.parameters.items():
            low, high = value / factors[name], value * factors[name]
            print(f"  {name:16} {value:10.4g}  ({low:.3g} to {high:.3g})")
        print(f"  scatter between conditions {law.residual_stdev:.1%}")
    if args.out is not None:
        save(laws, args.out)
        print(args.out)
    return 0


def _predict(args: argparse.Namespace) -> int:
    from ..law import LawDataError, forecast_run, sentence
    from ..law.flop import function_evaluations
    from ..law.forecast import costs_at_ends

    assumed = law_card.assume(args)
    card, tariff = law_card.card(args), law_card.tariff(args)
    made = forecast_run(
        law_card.condition(args),
        args.steps,
        card,
        text_tokens=args.text_tokens,
        confidence=args.confidence,
    )
    energy, time = made.energy_per_img, made.duration_per_img
    if energy is None:
        raise LawDataError("; ".join(made.notes))
    warn(tuple(note for note in made.notes if note not in card.notes))
    if not args.json:
        print(law_card.settings_line(args, assumed))
        print(sentence(replace(made, notes=()), tariff))
        return 0
    facts = {
        "gpu": card.gpu,
        "settings": {name: getattr(args, name) for name in SETTINGS},
        "assumed": list(assumed),
        "confidence": args.confidence,
        "energy_j_per_img": _ends(energy),
        "duration_s_per_img": None if time is None else _ends(time),
        "flop_count": made.flop_count,
        "nfe": function_evaluations(args.sampler, args.steps),
        "note": made.novelty,
        "costs_per_img": costs_at_ends(energy, tariff, time),
    }
    print(json.dumps(facts, indent=2))
    return 0


def _ends(prediction: Prediction) -> dict[str, float]:
    return {"value": prediction.value, "low": prediction.low, "high": prediction.high}
