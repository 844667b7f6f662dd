import torch
from backend.attention import attention_function


class IntegratedUNet2DConditionModel(torch.nn.Module):
    """A convolution, and one attention call."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inp = torch.nn.Conv2d(4, 8, 3, padding=1)
        self.out = torch.nn.Conv2d(8, 4, 3, padding=1)
        self.storage_dtype = self.computation_dtype = torch.float32

    def forward(self, x, context):
        h = self.inp(x)
        tokens = h.flatten(2).transpose(1, 2)
        h = attention_function(tokens, tokens, tokens, 2, None).transpose(1, 2).reshape(h.shape)
        return self.out(h)
