"""``wattbench doctor --measure`` watches every meter that it can open."""

import re

import pytest

from wattbench.cli import doctor, main
from wattbench.measure.meters.refresh import ChannelFigures


def test_the_estimate_is_watched(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "WATCH_S", 0.3)
    assert main(["doctor", "--measure"]) == 0
    section = capsys.readouterr().out.split("Energy meters, watched")[1]
    line = next(line for line in section.splitlines() if line.split()[:1] == ["estimate"])
    assert re.search(r"counter: .* ms a read", line)
    assert "replay" not in section


def test_without_the_option_nothing_is_watched(capsys):
    assert main(["doctor"]) == 0
    assert "watched" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("figures", "power_w", "text"),
    [
        (
            ChannelFigures(0.0048, 0.1, 0.093, 0.105),
            124.13,
            "counter: 124.1 W, new every 100 ms (93 to 105), 4.8 ms a read",
        ),
        (ChannelFigures(4e-5, None, None, None), None, "counter: no change seen, 0.04 ms a read"),
    ],
)
def test_figures_in_words(figures, power_w, text):
    assert doctor.describe("counter", figures, power_w) == text


def test_a_meter_that_cannot_be_opened_says_why():
    assert "99" in doctor.watched("nvml:99") or "nvidia" in doctor.watched("nvml:99").lower()


def test_doctor_says_what_may_hide_cards_from_torch(monkeypatch):
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch sees a card")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    _, remark = doctor.find_machine()
    has_cuda = torch.version.cuda is not None or torch.version.hip is not None
    why = "CUDA_VISIBLE_DEVICES is '7'" if has_cuda else "this torch is built without CUDA and ROCm"
    assert remark == f" (torch sees no CUDA or ROCm device: {why})"
