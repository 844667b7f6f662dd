"""How near latents are to each other."""

import math

FLOOR_DB = 25
"""PSNR of a latent against the original file's, for any 4-bit format."""

SAME_DB = 60
"""PSNR of one file loaded twice: memory that is aligned differently is summed differently."""


def psnr_db(reference, value):
    """Over the range of the reference's values."""
    span = float(reference.max() - reference.min())
    error = float((value - reference).square().mean())
    return 10 * math.log10(span**2 / error) if error else math.inf
