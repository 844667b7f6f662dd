"""The power cap of AMD boards on a simulated hwmon tree."""

import os

import pytest

from wattbench.measure.power_limit import LimitRange, PowerLimitError, open_limit, probe_limits
from wattbench.measure.power_limit.amdgpu import AmdgpuPowerLimits

FILES = {
    "power1_cap": 250_000_000,
    "power1_cap_min": 0,
    "power1_cap_max": 300_000_000,
    "power1_cap_default": 250_000_000,
}


@pytest.fixture
def put_board(tmp_path):
    """Call ``put_board("0000:0a:00.0", power1_cap=…)``; its hwmon folder."""

    def put(address, **files):
        device = tmp_path / "devices" / address
        hwmon = tmp_path / "class" / "hwmon" / f"hwmon{address[5:7]}"
        device.mkdir(parents=True)
        hwmon.mkdir(parents=True)
        (hwmon / "device").symlink_to(device)
        for name, value in {"name": "amdgpu", **files}.items():
            (hwmon / name).write_text(f"{value}\n")
        return hwmon

    return put


@pytest.fixture
def sources(tmp_path):
    return [AmdgpuPowerLimits(tmp_path)]


def test_cap_is_read_and_set_in_watts(put_board, sources):
    hwmon = put_board("0000:0a:00.0", **FILES)
    limit = open_limit("hwmon:0a:00.0", sources)
    assert limit.name == "hwmon:0000:0a:00.0"
    assert limit.allowed == LimitRange(0, 300, 250)
    assert limit.read_w() == 250
    assert limit.set_w(180) == 180
    assert (hwmon / "power1_cap").read_text() == "180000000\n"


def test_only_board_is_found_and_several_must_be_named(put_board, sources):
    put_board("0000:0a:00.0", **FILES)
    assert open_limit("auto", sources).name == "hwmon:0000:0a:00.0"
    put_board("0000:0b:00.0", **FILES)
    with pytest.raises(PowerLimitError, match=r"2 boards .*0b:00\.0; name one with --gpu"):
        open_limit("auto", sources)


def test_offer_tells_the_range(put_board, sources):
    put_board("0000:0a:00.0", **FILES)
    [offer] = probe_limits(sources)
    assert (offer.name, offer.available) == ("hwmon:0000:0a:00.0", True)
    assert offer.description.endswith("250 W now, 0 to 300 W, default 250 W")


def test_offer_says_that_the_limit_is_not_the_default(put_board, sources):
    put_board("0000:0a:00.0", **{**FILES, "power1_cap": 180_000_000})
    [offer] = probe_limits(sources)
    assert offer.description.endswith(
        "180 W now, 0 to 300 W, default 250 W, which is not the one now"
    )


def test_board_without_a_cap_is_refused(put_board, sources):
    put_board("0000:0a:00.0")
    [offer] = probe_limits(sources)
    assert not offer.available
    assert "power1_cap_min" in offer.reason
    with pytest.raises(PowerLimitError, match="no board here has a power limit"):
        open_limit("auto", sources)


def test_machine_without_boards(sources):
    [offer] = probe_limits(sources)
    assert (offer.available, offer.reason) == (False, "the kernel lists no such GPU")
    with pytest.raises(PowerLimitError, match="there is no hwmon:0000:0a:00"):
        open_limit("hwmon:0000:0a:00.0", sources)


def test_unknown_name(sources):
    with pytest.raises(PowerLimitError, match="there is no board 'cuda:0'"):
        open_limit("cuda:0", sources)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anything")
def test_file_that_may_not_be_written_asks_for_rights(put_board, sources):
    (put_board("0000:0a:00.0", **FILES) / "power1_cap").chmod(0o400)
    with pytest.raises(PowerLimitError, match=r"Permission denied; .*--sudo"):
        open_limit("auto", sources).set_w(180)


def test_cap_that_the_driver_takes_but_does_not_keep(put_board, sources, monkeypatch):
    """A file that another program writes again and again."""
    hwmon = put_board("0000:0a:00.0", **FILES)
    limit = open_limit("auto", sources)
    monkeypatch.setattr("wattbench.measure.power_limit.base.SETTLE_TIMEOUT_S", 0.0)
    write_w = limit.write_w

    def overruled(limit_w):
        write_w(limit_w)
        (hwmon / "power1_cap").write_text("250000000\n")

    monkeypatch.setattr(limit, "write_w", overruled)
    with pytest.raises(PowerLimitError, match="was set to 180 W and accepted it, but reads 250 W"):
        limit.set_w(180)
