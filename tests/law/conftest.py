"""The published measurements, and tables as WattBench writes them."""

import pandas as pd
import pytest

from wattbench import law

from .plans import frame_of


@pytest.fixture(scope="session")
def study():
    return law.study().frame


@pytest.fixture(scope="session")
def published():
    return law.published_law()


@pytest.fixture
def runs_table():
    """Rows of a ``runs.csv`` of one card, energies as the A100's law gives them times ``factor``.

    Durations are those of a card that draws 250 W.
    """

    def build(published, shapes, factor=1.0, gpu="Test Card"):
        rows = []
        for architecture, edge_px, steps, cfg in shapes:
            plan = frame_of(architecture, "A100", edge_px, edge_px, steps, cfg=cfg)
            joules = factor * float(published.predict(plan)["value"].iloc[0])
            rows.append(
                {
                    "architecture": architecture,
                    "model": "model.safetensors",
                    "weights": "file",
                    "weight_format": "fp16",
                    "width_px": edge_px,
                    "height_px": edge_px,
                    "batch_size": 1,
                    "steps": steps,
                    "nfe": steps,
                    "cfg": cfg,
                    "sampler": "euler",
                    "is_warmup": False,
                    "error": None,
                    "gpu_name": gpu,
                    "energy_j": joules,
                    "energy_meter": "nvml:0",
                    "energy_method": "counter",
                    "attention": "sdpa",
                    "optimizations": None,
                    "power_limit_w": 350.0,
                    "text_encode_time_s": 0.01 * joules / 250,
                    "denoise_time_s": 0.95 * joules / 250,
                    "decode_time_s": 0.04 * joules / 250,
                }
            )
        return pd.DataFrame(rows)

    return build


VARIED = [
    ("sdxl", 1024, 30, 7.0),
    ("sdxl", 512, 20, 7.0),
    ("z_image", 1024, 8, 1.0),
    ("flux", 768, 20, 1.0),
]


@pytest.fixture
def varied():
    return list(VARIED)
