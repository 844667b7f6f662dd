"""What one node learnt of the counter, the next one knows."""

from types import SimpleNamespace

import pytest
import torch

from ...waiting import until


@pytest.fixture
def server(comfyui, monkeypatch):
    """As much of ComfyUI's server as the pack touches when it is loaded."""
    from aiohttp import web
    from server import PromptServer

    server = SimpleNamespace(app=web.Application())
    monkeypatch.setattr(PromptServer, "instance", server, raising=False)
    return server


@pytest.fixture
def ticking(tmp_path):
    """A recording of a counter at 100 W that ticks every 100 ms."""
    path = tmp_path / "counter.csv"
    rows = [f"{i / 10},{i * 10}" for i in range(100)]
    path.write_text("\n".join(["t_s,energy_j", *rows]) + "\n", encoding="utf-8")
    return f"replay:{path}"


def test_the_server_keeps_what_an_instrument_learnt(server, ticking):
    from wattbench.hosts.comfyui.host import HOST
    from wattbench.hosts.comfyui.kept import add_kept
    from wattbench.measure.protocol.observation import open_instrument
    from wattbench.measure.recording.rhythms import Rhythms

    def learnt():
        with open_instrument(HOST, torch.device("cpu"), ticking) as (instrument, _):
            with instrument.record() as (window, _), window.phase("denoise"):
                pass
            name = instrument.meter.name
        return HOST.kept(Rhythms).of(name)

    add_kept()
    clock = until(learnt)  # a sampler that is held up sees no rhythm in so few ticks
    (early_s, late_s), (next_early_s, next_late_s) = clock.bounds(0), clock.bounds(1)
    assert next_early_s - late_s <= 0.1 <= next_late_s - early_s
    assert clock.period_s == pytest.approx(0.1, abs=0.05)


def test_without_a_server_nothing_is_kept(comfyui, monkeypatch):
    from server import PromptServer

    from wattbench.hosts.comfyui.host import HOST
    from wattbench.hosts.comfyui.kept import add_kept
    from wattbench.measure.recording.rhythms import Rhythms

    monkeypatch.delattr(PromptServer, "instance", raising=False)
    add_kept()
    assert HOST.kept(Rhythms) is not HOST.kept(Rhythms)
