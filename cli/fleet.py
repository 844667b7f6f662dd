"""``wattbench fleet``: one plan on the cards of many machines, and what these are good for."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CommandError, UsageError
from . import fleet_queue
from .fleet_progress import FleetProgress
from .matrix import find_plan
from .powercap import seconds
from .run import host_and_port, port

if TYPE_CHECKING:
    from ..fleet.places import Places
    from ..fleet.ray_nodes import Node

PORT = 26379
DOWN_S = 60.0
"""How long a node may take to end, before it is killed."""

AGAIN_S = 10.0
"""How often a node that has ended by itself is tried to be started."""

PAGE = "fleet.md"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "fleet",
        help="measure a plan on the cards of many machines",
        description="Carry a plan out on every card that it asks for, on this machine or, with "
        "Ray, on many. Every card measures all of its cells itself.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _register_up(actions)
    down = actions.add_parser("down", help="end the node of this machine")
    status = actions.add_parser("status", help="which machines and cards there are")
    _register_run(actions)
    page = actions.add_parser(
        "page",
        help="cards side by side, of folders of results",
        description="Write a page of results that lie in folders: a fleet's, or those of single "
        "machines.",
    )
    page.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    page.add_argument("--out", type=Path, required=True, metavar="FILE", help="such as fleet.md")
    fleet_queue.register(actions)
    for action in (down, status):
        _add_home(action)


def _add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--home", type=Path, metavar="DIR", help="what this machine keeps of fleets"
    )


def _register_up(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    up = actions.add_parser(
        "up",
        help="make this machine a node, until Ctrl-C or `wattbench fleet down`",
        description="Start Ray on this machine, as the head or joined to one. It listens on "
        "127.0.0.1, unless --listen says otherwise, and lets nobody in without the token.",
    )
    _add_home(up)
    up.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="of this machine")
    up.add_argument("--port", type=port, default=PORT, help=f"of the head (default: {PORT})")
    up.add_argument("--join", type=host_and_port, metavar="HOST:PORT", help="the head to join")
    up.add_argument("--token", type=Path, metavar="FILE", help="the head's token, to join it")
    up.add_argument("--name", default="", help="what to call this machine (default: its own name)")
    up.add_argument("--comfyui", type=Path, metavar="PATH", help="ComfyUI's folder on this machine")


def _register_run(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = actions.add_parser(
        "run",
        help="carry a plan out",
        description="Carry a plan out on the cards that its [fleet] asks for: those of the fleet "
        "that is up, else of this machine. Arguments after -- go to every ComfyUI.",
    )
    run.add_argument("plan", metavar="PLAN", help="a TOML file, or a shipped plan by its name")
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the results")
    run.add_argument("--resume", action="store_true", help="go on with what --out holds, or begin")
    run.add_argument(
        "--here", action="store_true", help="only this machine's cards, also where a fleet is up"
    )
    run.add_argument(
        "--wait",
        type=seconds,
        default=60.0,
        metavar="S",
        help="how long to wait for cards that are missing, once all others are done (default: 60)",
    )
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    run.add_argument("--estimate-if-unmetered", action="store_true")
    run.add_argument("--sudo", action="store_true", help="power limits through sudo")
    run.add_argument("--json", action="store_true", help="tell events as JSON, a line each")
    _add_home(run)
    run.set_defaults(passes_on=True)


def run(args: argparse.Namespace) -> int:
    """Do what the action says; for ``run`` 0 where every cell of every card was measured."""
    actions = {"up": up, "down": down, "status": status, "run": carry_out, "page": page}
    if args.action == "plan":
        return fleet_queue.run(args)
    return actions[args.action](args)


def up(args: argparse.Namespace) -> int:
    """Keep a node until somebody ends this: where Ray ends by itself, it is started again."""
    from ..fleet import ray_nodes
    from ..fleet.cards import HOST_VARIABLE

    ray_nodes.import_ray()
    home = _home(args)
    if args.join and args.token is None and not (home / ray_nodes.TOKEN_FILE).is_file():
        raise UsageError(
            f"to join a fleet its token is needed: copy the head's file {ray_nodes.TOKEN_FILE} "
            "here by a safe way, and name it with --token"
        )
    token = ray_nodes.make_token(home, args.token)
    join = "{}:{}".format(*args.join) if args.join else ""
    extra = {"COMFYUI_PATH": str(args.comfyui.resolve())} if args.comfyui else {}
    extra |= {HOST_VARIABLE: args.name} if args.name else {}
    with ray_nodes.Node(home, args.listen, args.port, join, extra) as node:
        print(f"the fleet's head is at {node.start()}; this process keeps a node of it")
        if not join:
            print(f"its token is in {token}: who has it can run what they like on every node")
        print("end it by Ctrl-C, or `wattbench fleet down`", flush=True)
        while True:
            node.wait()
            print(f"Ray has ended by itself (see {node.log}), and is started again", flush=True)
            _start_again(node)


def _start_again(node: Node) -> None:
    """Until it starts; the head of a joined node may take long to be up again."""
    told = ""
    while True:
        try:
            print(f"the node is back in the fleet at {node.start()}", flush=True)
            return
        except CommandError as error:
            if str(error) != told:
                told = str(error)
                print(f"{told}. It is tried every {AGAIN_S:g} s", flush=True)
            time.sleep(AGAIN_S)


def down(args: argparse.Namespace) -> int:
    """End the node of this machine, and wait for it."""
    from ..fleet.ray_nodes import read_up

    found = read_up(_home(args))
    process = found.process if found else None
    if process is None:
        print("no node runs here")
        return 0
    process.terminate()
    deadline_s = time.monotonic() + DOWN_S
    while found is not None and (process := found.process) is not None:
        if time.monotonic() > deadline_s:
            process.kill()
        time.sleep(0.1)
    print("the node has ended; what was measured here is kept")
    return 0


def status(args: argparse.Namespace) -> int:
    """The machines and cards that a plan can be carried out on."""
    from ..fleet.cards import mismatch, this_machine

    here = this_machine()
    with _places(args) as places:
        for machine in places.machines().values():
            version = f"WattBench {machine.pack} {machine.git_commit[:10]}".rstrip()
            print(f"{machine.host}: {version}")
            for card in machine.cards:
                print(f"  {card.gpu or 'what ComfyUI finds'}, driver {card.driver or 'unknown'}")
            if refused := mismatch(machine, here):
                print(f"  it measures nothing: {refused}")
        for reason in places.silent():
            print(reason)
        if hasattr(places, "free"):
            print(f"{places.free():g} machines measure nothing now")
    return 0


def carry_out(args: argparse.Namespace) -> int:
    """Measure; what came is written, also after a failure or Ctrl-C."""
    from ..fleet.cards import this_machine
    from ..fleet.coordinator import Coordinator
    from ..fleet.parcel import pack
    from ..fleet.results import write_fleet
    from ..fleet.store import Store
    from ..fleet.worker import WORKFLOWS
    from ..hosts.remote.batch import prepare_folder
    from ..report import reserved

    plan, parcel = pack(find_plan(args.plan), WORKFLOWS)
    prepare_folder(args.out)
    options = ["--device", args.device]
    options += ["--estimate-if-unmetered"] * args.estimate_if_unmetered + ["--sudo"] * args.sudo
    progress = FleetProgress(args.json, sys.stdout)
    # Ray prints what it thinks of its nodes between the events.
    with redirect_stdout(sys.stderr), reserved(args.out), _places(args) as places:
        coordinator = Coordinator(
            plan,
            parcel,
            places,
            Store.at(args.out, parcel, args.resume),
            this_machine(),
            tuple(options),
            tuple(args.comfyui_arguments),
            args.wait,
            progress.tell,
        )
        try:
            coordinator.run()
        finally:
            is_whole, lines = write_fleet(coordinator)
            progress.end(lines)
    return int(not is_whole)


def page(args: argparse.Namespace) -> int:
    """The page of folders that are there."""
    from ..fleet.results import page_of
    from ..incoming import IncomingError
    from ..sharing.bundle import BundleError
    from ..sharing.merge import MergeError
    from ..tables.files import write_text

    try:
        text = page_of(args.folders)
    except (BundleError, IncomingError, MergeError) as error:
        raise UsageError(str(error)) from error
    print(write_text(text, args.out))
    return 0


@contextmanager
def _places(args: argparse.Namespace) -> Iterator[Places]:
    """The fleet's that is up here, else this machine alone."""
    from ..fleet.places import Here
    from ..fleet.ray_nodes import read_up

    found = None if getattr(args, "here", False) else read_up(_home(args))
    if found is None:
        yield Here()
        return
    from ..fleet.on_ray import OnRay

    places = OnRay(found)
    try:
        yield places
    finally:
        places.close()


def _home(args: argparse.Namespace) -> Path:
    """The home that is asked for, which everything of this process then has."""
    import os

    from ..fleet.worker import HOME_VARIABLE, default_home

    if args.home is not None:
        os.environ[HOME_VARIABLE] = str(args.home.resolve())
    return default_home()
