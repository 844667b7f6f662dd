"""Writes what torch computes on here, in a process of its own: ``cuda``, ``other`` or ``cpu``."""

from __future__ import annotations

import sys


def main() -> None:
    import torch

    if torch.cuda.is_available():
        sys.stdout.write("cuda\n")
    else:
        is_other = torch.backends.mps.is_available() or torch.xpu.is_available()
        sys.stdout.write("other\n" if is_other else "cpu\n")


if __name__ == "__main__":
    main()
