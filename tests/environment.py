"""What this process and its children find in their environment: set before torch is imported."""

import os
import sys
from pathlib import Path

from wattbench.processes.environment import child_environment

# Tests speak to servers on this machine: a proxy of it is not asked, in children neither.
os.environ.update({name: child_environment()[name] for name in ("NO_PROXY", "no_proxy")})

# The models are tiny: threads of torch would only wait for each other, ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # Dozens of processes are started: without bytecode each compiles ComfyUI and torch anew.
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(
        Path(__file__).parent.parent / ".pytest_cache" / "bytecode"
    )
    sys.dont_write_bytecode = False
