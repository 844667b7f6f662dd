"""A weight for every format."""

import pytest
import torch

SHAPE = (192, 256)


@pytest.fixture
def weight():
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(SHAPE, generator=generator) * 0.02).to(torch.bfloat16)
