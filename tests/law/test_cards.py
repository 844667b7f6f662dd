"""The laws on disk are those that the data give, and a device is matched to its own."""

import json

import numpy as np
import pytest

from wattbench.law import LawDataError, card_named, card_of
from wattbench.law.cards import CARDS_JSON, fit_cards, write


def test_the_shipped_laws_are_current():
    """Made by ``python -c "from wattbench.law.cards import write; write()"``."""
    fitted = fit_cards()
    assert list(json.loads(CARDS_JSON.read_text("utf-8"))) == list(fitted)
    for gpu, calibration in fitted.items():
        shipped = card_named(gpu)
        law, again = shipped.laws["J"], calibration.law
        assert shipped.notes == calibration.warnings
        assert law.domain == again.domain
        np.testing.assert_allclose(law.log_parameters, again.log_parameters, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(law.covariance, again.covariance, rtol=1e-2, atol=1e-4)
        np.testing.assert_allclose(
            law.novel_covariance, again.novel_covariance, rtol=1e-2, atol=1e-4
        )
        assert law.residual_stdev == pytest.approx(again.residual_stdev, rel=1e-4)
        assert bool(shipped.emulated) == (calibration.emulated is not None)
        if calibration.emulated is not None:
            emulated = shipped.emulated["J"]
            assert emulated.domain == calibration.emulated.domain
            expected = calibration.emulated.log_parameters
            np.testing.assert_allclose(emulated.log_parameters, expected, rtol=1e-4, atol=1e-4)


def test_writing_gives_what_is_read(tmp_path):
    write(tmp_path / "laws.json")
    assert set(json.loads((tmp_path / "laws.json").read_text("utf-8"))) >= {"A100", "RTX 3090"}


@pytest.mark.parametrize(
    ("device", "gpu"),
    [
        ("NVIDIA GeForce RTX 3090", "RTX 3090"),
        ("NVIDIA GeForce RTX 5090", "RTX 5090"),
        ("NVIDIA GeForce RTX 5070", "RTX 5070"),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", "RTX 3060M"),
        ("AMD Radeon Pro VII", "Radeon Pro VII"),
        ("AMD Radeon (TM) Pro VII", "Radeon Pro VII"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA A100 80GB PCIe", "A100"),
    ],
)
def test_a_device_is_found_by_its_drivers_name(device, gpu):
    found = card_of(device)
    assert (found.gpu, found.laws["J"].domain.gpu) == (gpu, gpu)


@pytest.mark.parametrize(
    "device",
    ["", "NVIDIA GeForce RTX 3090 Ti", "NVIDIA GeForce RTX 5090 Laptop GPU", "NVIDIA H200",
     "NVIDIA A100-SXM4-40GB", "NVIDIA GeForce RTX 3060", "AMD Radeon RX 7900 XTX",
     "AMD Radeon VII"],
)  # fmt: skip
def test_no_other_device_is_taken_for_one_of_them(device):
    with pytest.raises(LawDataError, match="wattbench law calibrate"):
        card_of(device)


def test_a_card_that_is_not_in_the_tables():
    with pytest.raises(LawDataError, match="no published data of H100; there are A100, RTX 5090"):
        card_named("H100")


@pytest.mark.parametrize(
    "name", ["Radeon Pro VII", "Radeon Pro VII (Forge)", "Radeon Pro VII (Neo)"]
)
def test_the_software_behind_a_name_is_no_other_card(name):
    card = card_named(name)
    assert card.gpu == "Radeon Pro VII"
    assert card.dtypes == {"fp16", "float8_e4m3fn"}
    assert card.laws_of("fp16") is card.laws
    assert card.laws_of("float8_e4m3fn") is card.emulated
