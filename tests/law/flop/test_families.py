"""A model's name follows from its class and its dimensions; another size is called so."""

import pytest

from wattbench.law.flop.families import family_name

KLEIN = {"hidden_size": 3072, "depth": 5, "depth_single_blocks": 20}
KLEIN_9B = {"hidden_size": 4096, "depth": 8, "depth_single_blocks": 24}


@pytest.mark.parametrize(
    ("class_name", "config", "name"),
    [
        ("Flux", {"hidden_size": 3072, "depth": 19, "depth_single_blocks": 38}, "flux"),
        ("Flux", {"hidden_size": 3072, "depth": 1, "depth_single_blocks": 38}, "flux_other_size"),
        ("Flux2", KLEIN, "flux2_klein"),
        ("Flux2", KLEIN_9B, "flux2_klein_9b"),
        ("Flux2", {**KLEIN, "depth": 8}, "flux2_other_size"),
        ("Flux2", {}, "flux2_other_size"),
        ("Chroma", KLEIN, "chroma"),
    ],
)
def test_names(class_name, config, name):
    assert family_name(class_name, config) == name
