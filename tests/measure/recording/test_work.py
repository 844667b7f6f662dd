"""What samplings make of a condition."""

from dataclasses import replace

import pytest

from wattbench.measure.recording.work import counted_condition
from wattbench.records import Forwards

from ...made_runs import CONDITION, sampling_of


def work_of(optimizations):
    made = replace(sampling_of(CONDITION), nfe=4, forwards=(Forwards(4, (1, 4, 8, 8), 77, 0),))
    return counted_condition(replace(CONDITION, optimizations=optimizations), [made]).work


@pytest.mark.parametrize("name", ["easycache", "channels_last, TeaCache rel_l1_thresh 0.4"])
def test_a_cache_between_steps_makes_evaluations_depend_on_the_picture(name):
    assert work_of(name).startswith("adaptive evaluations of ")


def test_a_file_of_that_name_does_not():
    assert work_of("LoraLoader lora_name cached_light.safetensors") == work_of("")
    assert work_of("").startswith("4 evaluations of ")
