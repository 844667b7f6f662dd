"""CLIP score agrees with torchmetrics of the same random weights; a folder is read as it lies.

Theirs are imported late: every process of the suite reads this file, and one runs it.

Real weights cannot be shipped: ``WATTBENCH_TEST_CLIP`` names a folder with some, for the last test.
"""

import hashlib
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from wattbench.hosts.remote.server import find_comfyui
from wattbench.quality.base import Seen, UnmeasuredError
from wattbench.quality.clip_score import CLIP_SCORE, load_clip
from wattbench.quality.networks import files_of

SIDE_PX = 32
TEXT = "a cat that looks at you"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny CLIP of random weights with CLIP's own tokenizer, which ComfyUI ships."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    place = tmp_path_factory.mktemp("clip")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    sizes["num_attention_heads"] = 2
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPModel(
            CLIPConfig(
                text_config=sizes,
                vision_config={**sizes, "image_size": SIDE_PX, "patch_size": 8},
                projection_dim=16,
            )
        )
    model.save_pretrained(place)
    size = {"height": SIDE_PX, "width": SIDE_PX}
    CLIPImageProcessor(size={"shortest_edge": SIDE_PX}, crop_size=size).save_pretrained(place)
    words = find_comfyui() / "comfy" / "sd1_tokenizer"
    CLIPTokenizer.from_pretrained(words, local_files_only=True).save_pretrained(place)
    return place


def score(network, picture, text=TEXT):
    return CLIP_SCORE.measure(Seen(picture, prompt=text), network.value)


class FeaturesOf:
    """A model whose features are tensors, as before transformers 5, texts times ``sign``."""

    def __init__(self, model, sign):
        self.model, self.config, self.sign = model, model.config, sign

    def to(self, device):
        return self

    def get_image_features(self, points):
        return self.model.get_image_features(points).pooler_output

    def get_text_features(self, tokens, mask):
        return self.sign * self.model.get_text_features(tokens, mask).pooler_output


def test_it_is_that_of_torchmetrics(folder, cat, with_noise):
    from torchmetrics.functional.multimodal import clip_score as their_score
    from transformers import CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    network = load_clip(folder)
    processor = CLIPProcessor(
        CLIPImageProcessor.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    )
    models = {sign: FeaturesOf(CLIPModel.from_pretrained(folder), sign) for sign in (1, -1)}
    found = []
    for picture in (cat, 255 - cat, with_noise(cat, 60)):
        for text in (TEXT, "two dogs"):
            ours = score(network, picture, text)
            image = torch.from_numpy(picture.copy()).movedim(-1, 0)
            with torch.no_grad():
                # Theirs is cut off at 0: what lies below is that of the opposite text.
                theirs = sum(
                    sign * float(their_score(image, text, partial(lambda m: (m, processor), model)))
                    for sign, model in models.items()
                )
            found.append(ours)
            assert ours == pytest.approx(theirs / 100, 1e-5, abs=1e-7)
    assert max(map(abs, found)) > 0.01
    assert len(set(found)) == 6


def test_it_depends_on_the_prompt_and_needs_one(folder, cat):
    network = load_clip(folder)
    assert score(network, cat, "a cat") != score(network, cat, "a boat")
    assert -1 <= score(network, cat) <= 1
    with pytest.raises(UnmeasuredError, match="prompt's text"):
        score(network, cat, " ")


def test_a_prompt_is_cut_at_the_context(folder, cat):
    network = load_clip(folder)
    long = "word " * 75
    assert score(network, cat, long) == score(network, cat, long + "and all that is behind it")


def test_the_row_has_the_checkpoint(folder):
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert load_clip(folder).name == f"model.safetensors sha256 {digest}"


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(ValueError, match=r"has no config.json, preprocessor_config.json"):
        load_clip(tmp_path)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").rename(tmp_path / "model.bin")
    with pytest.raises(ValueError, match=r"no file of weights \(\.safetensors\)"):
        load_clip(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights.pop("visual_projection.weight")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="lacks 1 of the CLIP model's weights"):
        load_clip(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="cannot be read as a CLIP model"):
        load_clip(tmp_path)


REAL = os.environ.get("WATTBENCH_TEST_CLIP", "")


@pytest.mark.skipif(not REAL, reason="WATTBENCH_TEST_CLIP names no folder with a CLIP model")
def test_real_weights_know_a_cat_from_noise(cat):
    network = load_clip(Path(REAL))
    noise = np.random.default_rng(0).integers(0, 256, cat.shape, np.uint8)
    assert score(network, cat, "a photo of a cat") > score(network, noise, "a photo of a cat")
    assert score(network, cat, "a photo of a cat") > score(network, cat, "a photo of a lorry")
    assert files_of(Path(REAL), (".safetensors",))
