"""xformers 0.0.35."""
