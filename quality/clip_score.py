"""CLIP score: whether a picture shows what its prompt says (Hessel et al., arXiv 2104.08718)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .base import Metric, Network, Seen, UnmeasuredError
from .networks import files_of, named

TEXT_FILES = ("config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Clip:
    """A CLIP model of transformers with its tokenizer and its preparation of pictures."""

    model: Any
    tokenizer: Any
    images: Any

    def cosine(self, picture: np.ndarray, text: str) -> float:
        """Of the embeddings of an 8-bit picture ``[height, width, 3]`` and a text: -1 to 1.

        The text is cut where it is longer than the model's context.
        """
        import torch

        limit = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(text, return_tensors="pt", truncation=True, max_length=limit)
        points = self.images(
            images=[picture.copy()], return_tensors="pt", input_data_format="channels_last"
        )
        with torch.inference_mode():
            seen = self.model(**tokens, **points)
            return float(torch.cosine_similarity(seen.image_embeds, seen.text_embeds)[0])


def load_clip(place: Path) -> Network:
    """A CLIP model from a folder as ``save_pretrained`` writes it, in fp32 on the CPU.

    Raises:
        ValueError: the folder is not one, or transformers is missing or cannot read it.
    """
    lacking = [name for name in TEXT_FILES if not (place / name).is_file()]
    if lacking:
        raise ValueError(
            f"{place} has no {', '.join(lacking)}: a CLIP model is a folder with config.json, "
            "preprocessor_config.json, its tokenizer's files and model.safetensors"
        )
    files = files_of(place, (".safetensors",))
    from safetensors import SafetensorError

    try:
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer
    except ImportError as error:
        raise ValueError("CLIP score needs transformers: pip install transformers") from error
    try:
        loaded: Any = CLIPModel.from_pretrained(
            place,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        tokenizer = CLIPTokenizer.from_pretrained(place, local_files_only=True)
        images = CLIPImageProcessor.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{place} cannot be read as a CLIP model of transformers") from error
    model, told = loaded
    if told["missing_keys"]:
        # They would be random numbers.
        raise ValueError(f"{place} lacks {len(told['missing_keys'])} of the CLIP model's weights")
    return Network(named(files), Clip(model.eval().float(), tokenizer, images))


def _measure(seen: Seen, network: Clip) -> float:
    if not seen.prompt.strip():
        raise UnmeasuredError("the prompt's text is not known")
    return network.cosine(seen.picture, seen.prompt)


CLIP_SCORE = Metric(
    name="clip_score",
    unit="",
    better="higher",
    range="-1 to 1; 0.2 to 0.35 is usual",
    meaning="cosine of the CLIP embeddings of picture and prompt, by the model of "
    "`quality_models`: only values of one model can be compared",
    measure=_measure,
    load=load_clip,
    needs="prompt",
    point=0.01,
)
