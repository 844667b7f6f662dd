"""Prints what torch computes on here, in a process of its own: ``cuda``, ``other`` or ``cpu``."""

from __future__ import annotations


def main() -> None:
    import torch

    if torch.cuda.is_available():
        print("cuda")
    else:
        is_other = torch.backends.mps.is_available() or torch.xpu.is_available()
        print("other" if is_other else "cpu")


if __name__ == "__main__":
    main()
