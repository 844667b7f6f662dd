"""The pack's face in ComfyUI: V3 nodes, one module a family."""
