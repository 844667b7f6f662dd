"""sageattention 1.0.6: smooths k in place, and counts missing keys of a block of 64."""

import torch


def sageattn(
    q,
    k,
    v,
    tensor_layout="HND",
    is_causal=False,
    sm_scale=None,
    smooth_k=True,
    **kwargs,
):
    assert q.size(-1) in [64, 96, 128], "headdim should be in [64, 96, 128]."
    assert q.stride(-1) == 1 and k.stride(-1) == 1 and v.stride(-1) == 1
    if tensor_layout == "NHD":
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if smooth_k:
        k -= k.mean(dim=2, keepdim=True)
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    scale = q.shape[-1] ** -0.5 if sm_scale is None else sm_scale
    lacking = -k.shape[2] % 64
    k, v = (torch.nn.functional.pad(x, (0, 0, 0, lacking)) for x in (k, v))
    out = torch.softmax((q.float() @ k.float().transpose(2, 3)) * scale, -1) @ v.float()
    out = out.to(q.dtype)
    return out.transpose(1, 2) if tensor_layout == "NHD" else out
