"""Bits against distortion as a picture; needs matplotlib, the extra ``plots``."""

from __future__ import annotations

from functools import reduce
from operator import add
from pathlib import Path

from ..tables.figure import new_figure
from .report import LayerReport, QuantReport

BOUND_BITS = (1.0, 17.0)


def gaussian_bound(bits_per_weight: float) -> float:
    """The least distortion of ``bits_per_weight``, as noise over signal.

    The distortion-rate function of a Gaussian source, D(R) = 2^(-2R): Cover and Thomas, Elements
    of Information Theory, 2nd edition, theorem 10.3.2. Weights are no exact Gaussian, and a layer
    with other statistics may lie below.
    """
    return float(2.0 ** (-2 * bits_per_weight))


def write_rate_distortion(report: QuantReport, path: Path) -> None:
    """Each compared layer as a dot, each format's layers together as a circle, and the bound.

    Raises:
        PlotsUnavailableError: without matplotlib.
        ValueError: no layer was compared with a reference.
        OSError: the file cannot be written.
    """
    groups: dict[str, list[LayerReport]] = {}
    for layer in report.layers:
        if layer.is_quantized and layer.fidelity is not None and layer.fidelity.noise > 0:
            groups.setdefault(layer.format, []).append(layer)
    if not groups:
        raise ValueError("no quantized layer was compared with a reference: no distortion")
    figure = new_figure(7, 5)
    axes = figure.add_subplot()
    for name, layers in groups.items():
        bits = [layer.bits_per_weight for layer in layers]
        distortions = [layer.fidelity.distortion for layer in layers if layer.fidelity is not None]
        dots = axes.semilogy(bits, distortions, ".", alpha=0.4, markersize=4)[0]
        total = reduce(add, [layer.fidelity for layer in layers if layer.fidelity is not None])
        mean_bits = 8 * sum(x.stored_bytes for x in layers) / sum(x.weight_count for x in layers)
        axes.semilogy(
            [mean_bits],
            [total.distortion],
            "o",
            color=dots.get_color(),
            markersize=9,
            label=f"{name}: {mean_bits:.2f} bits, {total.sqnr_db:.1f} dB",
        )
    low, high = axes.get_xlim()
    edges = [max(BOUND_BITS[0], low - 1), min(BOUND_BITS[1], high + 1)]
    bound = [gaussian_bound(edge) for edge in edges]
    axes.semilogy(edges, bound, "k--", linewidth=0.8, label="Gaussian bound, 2^(-2R)")
    axes.set_xlabel("Bits per weight, scales included")
    axes.set_ylabel("Distortion (mean squared error / mean square)")
    axes.set_title(f"{report.name} against {report.reference}")
    axes.legend()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
