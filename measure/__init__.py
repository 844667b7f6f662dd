"""Observation: meters, windows, attribution, statistics and reports. Knows nothing of ComfyUI."""
