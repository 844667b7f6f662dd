"""The process that keeps a node of Ray: started by :mod:`.ray_nodes`, ended with it.

`ray start` would put the machine's address of the network in the place of 127.0.0.1 and listen on
all of them; so the node is made as `ray start` makes it, with the address that was asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import psutil

from ..errors import CommandError
from .ray_nodes import HOST_RESOURCE, import_ray, open_addresses

OBJECT_STORE_BYTES = 200 * 2**20
LOOK_S = 1.0


def main() -> int:
    """Keep a node until one of its processes ends; the code is 1 where it did not start."""
    parser = argparse.ArgumentParser()
    for name in ("--listen", "--join", "--folder"):
        parser.add_argument(name, required=True)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    answers = sys.stdout
    sys.stdout = sys.stderr
    try:
        kept = start(args)
        found = open_addresses(psutil.Process().children(recursive=True), args.listen)
        if found:
            raise CommandError(
                f"this Ray listens on {', '.join(found)}, although it was given {args.listen}: it "
                "is ended again. Report the version of Ray"
            )
    except (CommandError, OSError, RuntimeError, ValueError) as error:
        print(json.dumps({"error": f"Ray does not start: {error}"}), file=answers, flush=True)
        return 1
    print(json.dumps({"address": kept.gcs_address}), file=answers, flush=True)
    while not kept.dead_processes():
        time.sleep(LOOK_S)
    return 1


def start(args: argparse.Namespace) -> Any:
    """The node, with all of its processes."""
    import_ray()
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    given = {"gcs_address": args.join} if args.join else {"gcs_server_port": args.port}
    params = RayParams(
        **given,
        node_ip_address=args.listen,
        num_cpus=1,
        num_gpus=0,
        resources={HOST_RESOURCE: 1},
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        include_log_monitor=False,
        min_worker_port=0,
        max_worker_port=0,
        temp_dir=args.folder,
    )
    return Node(params, head=not args.join, shutdown_at_exit=True, spawn_reaper=True)


if __name__ == "__main__":
    sys.exit(main())
