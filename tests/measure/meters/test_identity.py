"""Identities of boards, in the ways that torch and vendors write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattbench.measure.meters import DeviceId
from wattbench.measure.meters.identity import is_same_board, pci_key, uuid_key

DIGITS = "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("00000000:01:00.0", (0, 1, 0)),
        ("0000:01:00.0", (0, 1, 0)),
        ("0000:C1:1f", (0, 0xC1, 0x1F)),
        ("01:00.0", (0, 1, 0)),
        ("10000:e1:00.0", (0x10000, 0xE1, 0)),
        ("", None),
        ("card0", None),
        ("0000:01", None),
    ],
)
def test_addresses(text, key):
    assert pci_key(text) == key


@given(st.text(DIGITS, min_size=16, max_size=16))
def test_hips_bytes_are_the_digits_of_the_unique_id(unique_id):
    raw = unique_id.encode().hex()
    printed = "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))
    assert uuid_key(printed) == unique_id
    assert uuid_key(f"0x{unique_id.upper()}") == unique_id


@given(st.uuids())
def test_prefix_case_and_hyphens_do_not_matter(uuid):
    assert uuid_key(f"GPU-{str(uuid).upper()}") == uuid_key(str(uuid)) == uuid_key(uuid.hex)


def test_nothing_is_equal_to_nothing():
    assert not is_same_board(DeviceId("cuda"), "", "")
    assert not is_same_board(DeviceId("cuda", uuid="x", pci_bus_id="y"), "", "")
    assert not is_same_board(DeviceId("cuda"), "GPU-1", "0000:01:00.0")
