"""The only place that imports ComfyUI's internals (``comfy.*``)."""
