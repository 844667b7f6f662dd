"""``wattbench quantize``: a model file in another weight format."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CommandError, UsageError, told

if TYPE_CHECKING:
    from ..quant.convert import Request

REFRESH_S = 0.2


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "quantize",
        help="write a model file in another weight format",
        description="Write a model in another weight format, tensor by tensor, in little memory. "
        "In a checkpoint the diffusion model is converted, text encoders and VAE stay as they are. "
        "The source is only read, and nothing is overwritten.",
    )
    parser.add_argument(
        "source", type=Path, metavar="IN", help="a .safetensors file in 16 or 32 bit"
    )
    parser.add_argument("target", type=Path, metavar="OUT", help="the new .safetensors file")
    parser.add_argument(
        "--format", required=True, metavar="F", help="as `wattbench doctor` lists them: fp8, nf4, …"
    )
    parser.add_argument(
        "--keep",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="layers that stay in high precision, as 'blocks.0.*'; with - before it a pattern "
        "releases layers that stay by default, as '--keep=-time_embed.*'",
    )
    parser.add_argument(
        "--keep-sensitive",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="keep the layers that lose most in high precision, as long as they hold no more than "
        "this share of the weights, as 0.05; the source is read twice",
    )
    parser.add_argument(
        "--dtype",
        choices=("bf16", "fp16"),
        default="",
        help="of the model's tensors that are not quantized (default: as they are)",
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="for fp8_static: written by Calibrate"
    )


def run(args: argparse.Namespace) -> int:
    """Convert; what stands in the way is said before anything is written."""
    from ..quant.base import WeightRangeError
    from ..quant.convert import convert_file

    request = _request(args)
    shown = _ProgressLine()
    start_s = time.perf_counter()
    try:
        made = convert_file(args.source, args.target, request, shown.show)
    except (ValueError, ImportError, FileExistsError, FileNotFoundError) as error:
        kind = CommandError if isinstance(error, WeightRangeError) else UsageError
        raise kind(told(error)) from error
    except OSError as error:
        raise CommandError(f"{told(error)}\nNothing is left of {args.target}.") from error
    finally:
        shown.close()
    seconds = time.perf_counter() - start_s
    print(made.text())
    print(f"{seconds:.1f} s, {made.source_bytes / 1e9 / seconds:.2f} GB/s of the source")
    return 0


def _request(args: argparse.Namespace) -> Request:
    from ..measure.recording.environment import pack_version
    from ..quant.calibrate import Calibration
    from ..quant.convert import Request
    from ..quant.formats import find
    from ..quant.layers import LayerRules

    if not 0 <= args.keep_sensitive < 1:
        raise UsageError(f"--keep-sensitive {args.keep_sensitive:g}: give a share, as 0.05")
    try:
        scales = Calibration.load(args.calibration).input_scales if args.calibration else {}
        return Request(
            find(args.format),
            LayerRules.parse(" ".join(args.keep)),
            args.dtype,
            scales,
            pack_version(),
            args.keep_sensitive,
        )
    except (OSError, ValueError) as error:
        raise UsageError(told(error)) from error


class _ProgressLine:
    """A line on a terminal's standard error that is written anew a few times a second."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shown_s = 0.0

    def show(self, done_bytes: int, total_bytes: int) -> None:
        now_s = time.perf_counter()
        if self._is_terminal and now_s - self._shown_s >= REFRESH_S:
            self._shown_s = now_s
            text = f"\r{done_bytes / total_bytes:4.0%} of {total_bytes / 1e9:.2f} GB"
            print(text, end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._shown_s:
            print("\r" + " " * 24 + "\r", end="", file=sys.stderr, flush=True)
