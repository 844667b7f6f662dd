"""Nodes are executed as ComfyUI does it."""

from ..in_comfyui import inference_mode

__all__ = ["inference_mode"]
