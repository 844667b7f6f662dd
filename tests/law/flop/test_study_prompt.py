"""The prompt of the published edge study, as its workflows and its laws take it."""

import json
from pathlib import Path

import pandas as pd
import pytest

from wattbench.law.calibration import STUDY_PROMPT_TOKENS
from wattbench.law.data import EDGE_NODES_CSV

WORKFLOWS = Path(__file__).resolve().parents[3] / "workflows"
NAMES = ("sdxl_illustrious", "sdxl_synthetic", "z_image_turbo", "z_image_turbo_synthetic")
PRINTED = (
    "cute chibi-style plush moth character, designed as a small brown moth with oversized black "
    "eyes, holding a softly glowing light bulb. The character looks like a stitched plush toy, "
    "with visible seams and a fabric texture. Its wings are cream and brown with gentle patterns "
    "and small orange spots."
)


@pytest.mark.parametrize("name", NAMES)
def test_the_studys_workflows_have_the_printed_prompt(name):
    workflow = json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    (benchmark,) = (n for n in workflow["nodes"] if n["type"] == "WattBenchBenchmark")
    assert benchmark["widgets_values"][0] == PRINTED


def test_its_length_in_tokens(comfyui_meta):
    """As CLIP cuts it, without start and end; Qwen's tokenizer makes about as many."""
    from comfy.sd1_clip import SD1Tokenizer
    from comfy.text_encoders.z_image import ZImageTokenizer

    clip = SD1Tokenizer().clip_l.tokenizer(PRINTED)["input_ids"]
    assert len(clip) - 2 == STUDY_PROMPT_TOKENS == 58
    qwen = ZImageTokenizer().qwen3_4b.tokenizer(PRINTED)["input_ids"]
    assert len(qwen) == pytest.approx(STUDY_PROMPT_TOKENS, abs=5)


def test_every_interval_of_the_published_tables_is_there():
    table = pd.read_csv(EDGE_NODES_CSV)
    assert table.notna().all(axis=None)
    row = table[(table["gpu"] == "RTX 5070") & (table["workload"] == "z-image-turbo")]
    assert row["it_per_s_ci95"].item() == 0.012
