"""The ``wattbench`` command: one module a subcommand."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from ..errors import CancelledError, CommandError, UsageError
from ..processes.signals import cancelling
from ..tables.console import make_able

COMMANDS = (
    "run",
    "tune",
    "matrix",
    "study",
    "fleet",
    "powercap",
    "summary",
    "report",
    "compare",
    "journal",
    "bundle",
    "verify",
    "merge",
    "leaderboard",
    "law",
    "quantize",
    "quant-report",
    "doctor",
    "serve",
)
"""Modules of this package, in the order of the help text.

Each has ``register(subparsers) -> None``, which adds its parser and imports nothing heavy, and
``run(args) -> int``, which does the work and gives the exit code. A command whose parser has
``set_defaults(passes_on=True)`` finds what follows ``--`` in ``args.comfyui_arguments``.
"""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANCELLED = 130


class Parser(argparse.ArgumentParser):
    """Names what a wrong word may have meant."""

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '([^']*)'|unrecognized arguments: (\S+)", message)
        if wrong is not None:
            word = wrong[1] or wrong[2]
            near = get_close_matches(word.partition("=")[0], sorted(_words_of(self)), n=1)
            message += f". Did you mean {near[0]}?" if near else ""
        super().error(message)


def _words_of(parser: argparse.ArgumentParser) -> set[str]:
    """Commands and long options of a parser and of those below it."""
    words: set[str] = set()
    for action in parser._actions:
        words.update(option for option in action.option_strings if option.startswith("--"))
        words.update(str(choice) for choice in action.choices or ())
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                words |= _words_of(below)
    return words


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand: 0 done, 1 failed, 2 asked wrongly, 130 cancelled."""
    make_able()
    parser = Parser(prog="wattbench", description="What an AI image really costs on your machine.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    modules = {
        name: importlib.import_module("." + name.replace("-", "_"), __package__)
        for name in COMMANDS
    }
    for module in modules.values():
        module.register(subparsers)
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    args = parser.parse_args(given[:cut])
    if args.version:
        from ..measure.recording.environment import pack_version

        print(f"wattbench {pack_version()}")
        return 0
    if args.command is None:
        parser.print_help()
        return 0
    args.comfyui_arguments = given[cut + 1 :]
    if args.comfyui_arguments and not getattr(args, "passes_on", False):
        parser.error(
            "only run, tune, matrix, study, fleet run, powercap and serve take arguments after "
            "--, for ComfyUI"
        )
    try:
        with cancelling():
            code = int(modules[args.command].run(args))
            sys.stdout.flush()
            return code
    except UsageError as error:
        print(f"wattbench {args.command}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except CommandError as error:
        print(f"wattbench {args.command}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        # Who reads, `head` for one, wants no more; Python would complain again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except (CancelledError, KeyboardInterrupt) as error:
        print(f"wattbench {args.command}: cancelled {error}".rstrip(), file=sys.stderr)
        return EXIT_CANCELLED
