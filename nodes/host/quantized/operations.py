"""Linear layers that compute in our formats, for ComfyUI's ``custom_operations``.

They are ComfyUI's mixed-precision layers with three things added: products that ComfyUI does not
have (fp8 with activations scaled at run time, formats that are widened), a count of how every
product was really computed, and loading of weights that were wrapped as quantized tensors before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import comfy.ops
import torch
from comfy.quant_ops import QuantizedTensor

from ....offer import Machine
from ....quant.base import CONFIG, Execution, Format, Kind, decode_config, encode_config
from ....quant.formats.fp8 import Fp8
from ....quant.products import ALIGNMENT, fp8_linear, has_kernels, widen_fp8
from ....quant.stored import format_of
from ..describe import dtype_name
from .ledger import LinearLedger
from .stored import execution_of

FLOATS = (torch.bfloat16, torch.float16, torch.float32)

LORA = "a LoRA is applied while it runs"
UNCALIBRATED = "the file has no calibrated scale, so activations are scaled at run time"


@dataclass(frozen=True)
class Layer:
    """What a layer was loaded as: ``format`` is ``None`` where we leave it to ComfyUI."""

    name: str
    format: Format | None = None
    config: dict[str, Any] | None = None
    execution: Execution | None = None

    @property
    def takes_scale(self) -> bool:
        """Whether a calibration may store an activation scale in it."""
        return self.format is not None and self.format.name == "fp8_static"


class QuantizedLinear:
    """What :func:`quantized_operations` adds to ComfyUI's mixed-precision ``Linear``."""

    ledger: LinearLedger
    machine: Machine
    layer = Layer("")
    is_fp8 = False
    is_static = False

    def _load_from_state_dict(
        self: Any,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        """Take over a weight that was wrapped; leave any other to ComfyUI."""
        name = prefix.rstrip(".")
        arguments = (prefix, local_metadata, strict, missing, unexpected, errors)
        weight = state_dict.get(f"{prefix}weight")
        if weight is not None and tuple(weight.shape) != self._orig_shape:
            shapes = f"{tuple(weight.shape)} in the file and {self._orig_shape} in the model"
            errors.append(f"size mismatch for {name}: the weight is {shapes}")
            return
        if not isinstance(weight, QuantizedTensor):
            self.layer = Layer(name)
            super()._load_from_state_dict(state_dict, *arguments)  # type: ignore[misc]
            return
        config = decode_config(state_dict.pop(f"{prefix}{CONFIG}"))
        del state_dict[f"{prefix}weight"]
        input_scale = state_dict.pop(f"{prefix}input_scale", None)
        torch.nn.Module._load_from_state_dict(self, state_dict, *arguments)
        if f"{prefix}weight" in missing:
            missing.remove(f"{prefix}weight")
        self._adopt(name, config, weight, input_scale)

    def _adopt(self: Any, name: str, config: dict[str, Any], weight: Any, input_scale: Any) -> None:
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.layout_type = weight._layout_cls
        chosen = format_of(config, input_scale is not None)
        if chosen is None:
            raise ValueError(f"layer {name} was wrapped in a format that is not ours: {config}")
        self.quant_format = chosen.name
        self.is_fp8, self.is_static = isinstance(chosen, Fp8), chosen.name == "fp8_static"
        execution = execution_of(chosen, self.machine)
        if chosen.name == "fp8_static" and input_scale is None and not execution.reason:
            execution = replace(execution, reason=UNCALIBRATED)
        self.layer = Layer(name, chosen, config, execution)
        self.ledger.expect(name, chosen.name)
        if input_scale is not None:
            self.set_input_scale(input_scale)

    def set_input_scale(self: Any, scale: torch.Tensor) -> None:
        """Store the activation scale that a calibration found: one number."""
        scale = scale.detach().to(torch.float32).reshape(())
        self.register_parameter("input_scale", torch.nn.Parameter(scale, requires_grad=False))
        execution = execution_of(self.layer.format, self.machine)
        self.layer = replace(self.layer, execution=execution)

    def forward(self: Any, input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:  # noqa: A002
        layer = self.layer
        if layer.format is None:
            dtype = dtype_name(self.weight.dtype)
            self._count(dtype, Execution("native", dtype))
            return super().forward(input, *args, **kwargs)  # type: ignore[misc,no-any-return]
        comfy.ops.run_every_op()
        execution = layer.execution
        reason = execution.reason
        widened = execution.kind == "dequantized"
        if not widened:
            reason = self._why_not(input)
        if widened or reason:
            execution = Execution("dequantized", dtype_name(input.dtype), reason)
        self._count(layer.format.name, execution)
        compute = self._quantized if execution is layer.execution else self._widened
        if self._is_at_hand(input):
            return compute(input, self.weight, self.bias)
        weight, bias, stream = self._fetch(input, requantize=compute == self._quantized)
        product = compute(input, weight, bias)
        comfy.ops.uncast_bias_weight(self, weight, bias, stream)
        return product

    def _count(self, requested: str, execution: Execution) -> None:
        if torch.compiler.is_compiling():
            self._trace(requested, execution.kind, execution.arithmetic, execution.reason)
        else:
            self.ledger.count(self.layer.name, requested, execution)

    @torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
    def _trace(self, requested: str, kind: Kind, arithmetic: str, reason: str) -> bool:
        """Called by the compiler, once for every product that it traces; it keeps the answer."""
        self.ledger.trace(self.layer.name, requested, Execution(kind, arithmetic, reason))
        return True

    def _why_not(self: Any, x: torch.Tensor) -> str:
        """Why this call cannot be computed in the format; empty if it can."""
        if self.weight_function or self.bias_function:
            return LORA
        if self.is_fp8:
            if self.out_features % ALIGNMENT or self.in_features % ALIGNMENT:
                return f"rows or columns are no multiple of {ALIGNMENT}"
            if x.dtype not in FLOATS:
                return f"activations are {dtype_name(x.dtype)}"
        return ""

    def _is_at_hand(self: Any, x: torch.Tensor) -> bool:
        """Whether the weights are where they are needed, as ComfyUI would find at more cost."""
        if self.comfy_cast_weights or self.weight_function or self.bias_function:
            return False
        weight, bias = self.weight, self.bias
        if not isinstance(weight, QuantizedTensor) or weight._qdata.device != x.device:
            return False
        return bias is None or (bias.device == x.device and bias.dtype == x.dtype)

    def _fetch(self: Any, x: torch.Tensor, requantize: bool) -> tuple[Any, Any, Any]:
        """Weight, bias and stream from wherever ComfyUI keeps them, with LoRAs applied.

        With ``requantize`` the weight comes quantized, else it may come in ``x``'s dtype.
        """
        weight, bias, stream = comfy.ops.cast_bias_weight(
            self,
            dtype=self.weight.dtype if requantize else x.dtype,
            device=x.device,
            bias_dtype=x.dtype,
            offloadable=True,
            compute_dtype=x.dtype,
            want_requant=requantize,
        )
        return weight, bias, stream

    def _widened(self: Any, x: torch.Tensor, weight: Any, bias: Any) -> torch.Tensor:
        if isinstance(weight, QuantizedTensor):
            if self.is_fp8 and has_kernels(x):
                weight = widen_fp8(weight._qdata, weight._params.scale, x.dtype)
            else:
                weight = weight.to(dtype=x.dtype).dequantize()
        return torch.nn.functional.linear(x, weight, bias)

    def _quantized(self: Any, x: torch.Tensor, weight: Any, bias: Any) -> torch.Tensor:
        if not self.is_fp8:
            return torch.nn.functional.linear(x, weight.to(dtype=x.dtype), bias)
        scale = self._parameters.get("input_scale") if self.is_static else None
        if scale is not None and scale.device != x.device:
            scale = scale.to(x.device)
        return fp8_linear(x, weight._qdata, weight._params.scale, scale, bias)

    def set_weight(self: Any, weight: Any, *args: Any, **kwargs: Any) -> Any:
        """Where ComfyUI merges a LoRA; a format that is only read gives way to plain numbers."""
        if self.layer.format is None or self.layer.format.can_quantize:
            return super().set_weight(weight, *args, **kwargs)  # type: ignore[misc]
        if kwargs.get("return_weight"):
            return weight
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        return None

    def state_dict(
        self: Any, *args: Any, destination: Any = None, prefix: str = "", **kwargs: Any
    ) -> Any:
        stored = destination if destination is not None else {}
        if self.layer.format is None or not isinstance(self.weight, QuantizedTensor):
            return super().state_dict(*args, destination=stored, prefix=prefix, **kwargs)  # type: ignore[misc]
        stored.update(self.weight.state_dict(f"{prefix}weight"))
        stored[f"{prefix}{CONFIG}"] = encode_config(self.layer.config)
        for name in ("bias", "input_scale"):
            if getattr(self, name, None) is not None:
                stored[f"{prefix}{name}"] = getattr(self, name)
        return stored


def quantized_operations(
    compute_dtype: torch.dtype, machine: Machine, ledger: LinearLedger
) -> type[Any]:
    """ComfyUI's operations with our linear layers, which count into ``ledger``."""
    base = comfy.ops.mixed_precision_ops({"mixed_ops": True}, compute_dtype)
    linear = type("Linear", (QuantizedLinear, base.Linear), {"ledger": ledger, "machine": machine})
    return type("QuantizedOperations", (base,), {"Linear": linear})
