"""channels_last: the weights of 2-D convolutions as NHWC, where a host's model computes with them.

cuDNN's tensor-core convolutions work on NHWC and convert NCHW on the way in and out. A convolution
whose weights are channels_last hands NHWC on to the next layer. See PyTorch's page
"Channels Last Memory Format".
"""

from __future__ import annotations

from typing import Any

NAME = "channels_last"


def convolutions(module: Any) -> list[Any]:
    """2-D convolutions whose weights the format rearranges: those larger than one point."""
    import torch

    return [
        part
        for part in module.modules()
        if isinstance(part, torch.nn.Conv2d) and tuple(part.kernel_size) != (1, 1)
    ]


def resident(module: Any, device: Any) -> list[Any]:
    """Those in the plain format on ``device``; offloaded ones are copied there in the plain one."""
    return [
        part
        for part in convolutions(module)
        if part.weight.device == device and part.weight.is_contiguous()
    ]


def convert(convolutions: list[Any], memory_format: Any) -> None:
    """Rearrange weights: on a GPU where they lie; in main memory, which may be a file's, anew."""
    for part in convolutions:
        if part.weight.device.type == "cpu":
            part.weight.data = part.weight.data.contiguous(memory_format=memory_format)
        else:
            rearrange_in_place(part.weight, memory_format)


def rearrange_in_place(weight: Any, memory_format: Any) -> None:
    """Change the order in memory of a ``[out, in, height, width]`` weight, not its address.

    CUDA graphs have recorded the address.
    """
    arranged = weight.data.contiguous(memory_format=memory_format)
    weight.data = weight.data.as_strided(weight.shape, arranged.stride()).copy_(arranged)
