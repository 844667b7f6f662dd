"""What is tried on a machine, and why the rest is not."""

import pytest

from wattbench.errors import UsageError
from wattbench.study.levels import choose, parse_levers


def offer(name, available=True, reason="", **more):
    return {"name": name, "available": available, "reason": reason, "remedy": "", **more}


OFFERED = {
    "launch": [offer("--fast"), offer("--disable-dynamic-vram", False, "it is in force already")],
    "weights": [
        offer("bf16", native=False),
        offer("fp8", native=True),
        offer("fp8_static", native=True),
        offer("nf4", native=False),
    ],
    "memory_format": [offer("channels_last")],
    "attention": [offer("sdpa"), offer("split"), offer("sage_2", False, "not installed")],
    "compile": [
        offer("reduce-overhead", needs="--disable-cuda-malloc"),
        offer("max-autotune", needs=""),
    ],
    "vae_attention": [offer("sdpa")],
}


def chosen(levels):
    return {lever.name: lever.levels for lever in levels.levers}


def test_by_default_what_can_help_here():
    levels = choose(OFFERED, parse_levers([]), "s_per_img", own_servers=True)
    assert chosen(levels) == {
        "launch": ("--fast",),
        "weights": ("fp8",),
        "memory_format": ("channels_last",),
        "attention": ("auto", "sdpa"),
        "compile": ("reduce-overhead",),
        "vae_attention": ("sdpa",),
    }
    assert levels.needs == {("compile", "reduce-overhead"): "--disable-cuda-malloc"}
    assert all(one.reason for one in levels.left_out)
    assert {one.level for one in levels.left_out} >= {"sage_2", "split", "nf4", "max-autotune"}


def test_for_memory_the_formats_that_only_save_memory_are_tried():
    levels = choose(OFFERED, parse_levers([]), "peak_vram", own_servers=True)
    assert "nf4" in chosen(levels)["weights"]
    assert "split" in chosen(levels)["attention"]


def test_a_running_server_keeps_its_launch_options():
    levels = choose(OFFERED, parse_levers([]), "s_per_img", own_servers=False)
    assert "launch" not in chosen(levels)
    assert "compile" not in chosen(levels)
    assert ("compile", "reduce-overhead", "it needs a ComfyUI with --disable-cuda-malloc") in [
        (one.lever, one.level, one.reason) for one in levels.left_out
    ]
    assert [one.reason for one in levels.left_out if one.level == "--fast"] == [
        "the server is running already"
    ]


def test_what_is_asked_for_by_name_is_tried():
    asked = parse_levers(["attention=split", "launch=--novram", "weights=nf4,fp8"])
    levels = choose(OFFERED, asked, "s_per_img", own_servers=True)
    assert chosen(levels) == {
        "launch": ("--novram",),
        "weights": ("fp8", "nf4"),
        "attention": ("split",),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["atention"], "did you mean 'attention'"),
        (["attention=spilt"], "did you mean 'split'"),
        (["attention=sage_2"], "not installed"),
        (["attention="], "names no level"),
    ],
)
def test_what_cannot_be_tried_is_refused(words, message):
    with pytest.raises(UsageError, match=message):
        choose(OFFERED, parse_levers(words), "s_per_img", own_servers=True)
