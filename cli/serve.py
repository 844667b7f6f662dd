"""``wattbench serve``: ComfyUI with the pack, for use by hand."""

from __future__ import annotations

import argparse
from functools import partial

from .run import add_server_options, port

DEFAULT_PORT = 8188


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="start ComfyUI with this pack",
        description="Start ComfyUI with this pack under a base directory of its own. "
        "Arguments after -- go to ComfyUI.",
    )
    add_server_options(parser)
    parser.add_argument("--port", type=port, default=DEFAULT_PORT, help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C; that ComfyUI ends by itself is a failure."""
    from ..hosts.remote.places import choose_python
    from ..hosts.remote.server import ComfyServer, device_arguments, find_comfyui

    comfyui = find_comfyui(args.comfyui)
    python, note = choose_python(comfyui)
    if note:
        print(note, flush=True)
    server = ComfyServer(
        comfyui,
        port=args.port,
        arguments=[*device_arguments(args.device, python), *args.comfyui_arguments],
        python=python,
        say=partial(print, flush=True),
    )
    print(f"starting ComfyUI, log: {server.log_path}", flush=True)
    with server:
        print(f"ComfyUI with WattBench: http://{server.client.address}", flush=True)
        print(f"models go to {server.models_directory}; Ctrl-C ends it", flush=True)
        try:
            code = server.wait()
        except KeyboardInterrupt:
            print("stopping", flush=True)
            return 0
        raise server.error(f"ComfyUI ended by itself (code {code})")
