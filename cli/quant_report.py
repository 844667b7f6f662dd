"""``wattbench quant-report``: what a model file's layers became."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CommandError, UsageError, told

if TYPE_CHECKING:
    from ..quant.report import QuantReport


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "quant-report",
        help="say for each layer of a model file its format, bytes and error",
        description="Say how the diffusion model in a file is stored: formats, bytes, "
        "and, against a reference, signal-to-noise ratio, cosine and largest error of each layer.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a .safetensors or .gguf file")
    parser.add_argument(
        "--reference", type=Path, metavar="ORIGINAL", help="the file that FILE was made of"
    )
    parser.add_argument(
        "--architecture",
        default="",
        metavar="NAME",
        help="of FILE, as sdxl or z_image: adds which share of the FLOPs formats touch",
    )
    parser.add_argument("--layers", action="store_true", help="a row per layer, not per format")
    parser.add_argument("--csv", type=Path, metavar="CSV", help="write a row per layer")
    parser.add_argument(
        "--plot", type=Path, metavar="PICTURE", help="write bits against distortion, .svg or .png"
    )


def run(args: argparse.Namespace) -> int:
    from ..law.flop.shares import share_note
    from ..quant.report import report_file
    from ..quant.tables import HEADINGS, LAYER_HEADINGS, layer_rows, notes, rows
    from ..tables.table import Table
    from ..tables.text import as_text, terminal_width

    if args.plot is not None and args.reference is None:
        raise UsageError("--plot draws errors, which need --reference")
    try:
        report = report_file(args.file, args.reference)
        lines = notes(report)
        if args.architecture:
            lines.append(share_note(args.architecture))
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(told(error)) from error
    table = (LAYER_HEADINGS, layer_rows(report)) if args.layers else (HEADINGS, rows(report))
    print(as_text(Table(*table, tuple(lines)), terminal_width()))
    _write(args, report)
    return 0


def _write(args: argparse.Namespace, report: QuantReport) -> None:
    from ..quant.plots import write_rate_distortion
    from ..quant.tables import write_csv
    from ..tables.figure import PlotsUnavailableError

    try:
        if args.csv is not None:
            write_csv(report, args.csv)
            print(f"wrote {args.csv}")
        if args.plot is not None:
            write_rate_distortion(report, args.plot)
            print(f"wrote {args.plot}")
    except (OSError, ValueError) as error:
        raise CommandError(told(error)) from error
    except PlotsUnavailableError as error:
        print(f"no plot: {error}", file=sys.stderr)
