"""What is taken from a text before it is shown to others, and what stays."""

import pytest

from wattbench.report import private


@pytest.fixture
def scrub(monkeypatch):
    monkeypatch.setattr(private.socket, "gethostname", lambda: "box-7")
    monkeypatch.setattr(private.getpass, "getuser", lambda: "ada")
    return private.scrubber({"GPU-abcdef0": "card 1"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot open /home/ada/x y/z: refused", "cannot open [path]: refused"),
        ("in '/srv/my models/a': no", "in [path]: no"),
        ("in ~/models/a", "in [path]"),
        (r"C:\Users\Ada Lovelace\a.log: no", "[path]: no"),
        (r"from \\server\share\a", "from [path]"),
        ("/home/ada/models/moth.safetensors", "moth.safetensors"),
        ("path=/opt/x", "path=[path]"),
        ("see http://box:8188/view?x=1 now", "see [address] now"),
        ("ada.l@example.org wrote", "[address] wrote"),
        ("at 10.0.0.7:8188", "at [address]"),
        ("at fe80::1ff:fe23:4567", "at [address]"),
        ("at 2001:db8:0:0:1:2:3:4", "at [address]"),
        ("mac 00:1a:2b:3c:4d:5e", "mac [address]"),
        ("GPU-12345678-1234-1234-1234-123456789abc failed", "[serial number] failed"),
        ("GPU-abcdef0 failed", "card 1 failed"),
        ("ada on box-7", "[user] on [host]"),
        ("two\nlines\x1b[31m", "two lines [31m"),
    ],
)
def test_what_names_a_place_or_a_person_goes(scrub, text, expected):
    assert scrub(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "moth.safetensors, 1024x768, euler/normal, cfg 7.5",
        "sdxl/moth.safetensors",
        "12.3 J/img and 3 it/s",
        "Idle power before / after (W)",
        "nvml:0, whole device",
        "09:00:12.345",
        "0000:01:00.0",
        "2.11.0+cu130",
        "580.65.06",
        "adaptive, not of ada_lovelace's",
        "</script><b>bold</b>",
        "2x4x8x8, 77 tokens; sage_2: 560",
    ],
)
def test_what_names_neither_stays(scrub, text):
    assert scrub(text) == text
