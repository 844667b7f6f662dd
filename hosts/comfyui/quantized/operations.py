"""Linear layers that compute in our formats, for ComfyUI's ``custom_operations``.

They are ComfyUI's mixed-precision layers with three things added: products that ComfyUI does not
have (fp8 with activations scaled at run time, formats that are widened), a count of how every
product was really computed, and loading of weights that were wrapped as quantized tensors before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

import comfy.ops
import torch
from comfy.quant_ops import QuantizedTensor

from ....offer import Machine, machine_of
from ....quant.base import CONFIG, WIDE, Execution, Format, Kind, decode_config, encode_config
from ....quant.files import FileError
from ....quant.formats.fp8 import Fp8
from ....quant.products import ALIGNMENT, fp8_linear, has_kernels, why_not_scaled, widen_fp8
from ....quant.stored import format_of
from ..describe import dtype_name
from .ledger import LinearLedger
from .state_dicts import execution_of

UNUSED = "*text_projection.weight"
"""What files of CLIP-L may lack. Its product is computed all the same: with zeros, as in core."""

FLOATS = (torch.bfloat16, torch.float16, torch.float32)

LORA = "a LoRA is applied while it runs"
WEIGHT_ONLY = "text encoders have outliers that 8 bits do not bear"
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
        return self.format is not None and self.format.needs_input_scale


class QuantizedLinear:
    """What :func:`quantized_operations` adds to ComfyUI's mixed-precision ``Linear``."""

    ledger: LinearLedger
    machine: Machine
    weight_only: bool
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
        is_cores = f"{prefix}{CONFIG}" in state_dict and not isinstance(weight, QuantizedTensor)
        if weight is not None and not is_cores and tuple(weight.shape) != self._orig_shape:
            shapes = f"{tuple(weight.shape)} in the file and {self._orig_shape} in the model"
            errors.append(
                f"size mismatch for {name}: the weight is {shapes}. The file is damaged, or of a "
                "variant that this ComfyUI does not know: get it again, or update ComfyUI."
            )
            return
        if not isinstance(weight, QuantizedTensor):
            self.layer = Layer(name)
            super()._load_from_state_dict(state_dict, *arguments)  # type: ignore[misc]
            if weight is None:
                self._do_without(missing, f"{prefix}weight")
            elif is_cores:
                self.ledger.expect(name, self.quant_format)
            return
        config = decode_config(state_dict.pop(f"{prefix}{CONFIG}"))
        del state_dict[f"{prefix}weight"]
        input_scale = state_dict.pop(f"{prefix}input_scale", None)
        torch.nn.Module._load_from_state_dict(self, state_dict, *arguments)
        if f"{prefix}weight" in missing:
            missing.remove(f"{prefix}weight")
        self._adopt(name, config, weight, input_scale)

    def _do_without(self: Any, missing: list[str], key: str) -> None:
        missing.append(key)
        if fnmatchcase(key, UNUSED):
            zeros = torch.zeros(self._orig_shape, **self.factory_kwargs)
            self.weight = torch.nn.Parameter(zeros, requires_grad=False)

    def _adopt(self: Any, name: str, config: dict[str, Any], weight: Any, input_scale: Any) -> None:
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.layout_type = weight._layout_cls
        chosen = format_of(config, input_scale is not None)
        if chosen is None:
            raise ValueError(f"layer {name} was wrapped in a format that is not ours: {config}")
        self.quant_format = chosen.name
        self.is_fp8, self.is_static = isinstance(chosen, Fp8), chosen.needs_input_scale
        execution = self._execution_of(chosen)
        if chosen.needs_input_scale and input_scale is None and not execution.reason:
            execution = replace(execution, reason=UNCALIBRATED)
        self.layer = Layer(name, chosen, config, execution)
        self.ledger.expect(name, chosen.name)
        if input_scale is not None:
            self.set_input_scale(input_scale)

    def set_input_scale(self: Any, scale: torch.Tensor) -> None:
        """Store the activation scale that a calibration found: one number."""
        scale = scale.detach().to(torch.float32).reshape(())
        self.register_parameter("input_scale", torch.nn.Parameter(scale, requires_grad=False))
        self.layer = replace(self.layer, execution=self._execution_of(self.layer.format))

    def _execution_of(self, chosen: Format) -> Execution:
        if self.weight_only and chosen.hardware is not None:
            return Execution("dequantized", WIDE, WEIGHT_ONLY)
        return execution_of(chosen, self.machine)

    def forward(self: Any, input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:  # noqa: A002
        layer = self.layer
        if layer.format is None:
            self._count(*self._left_to_comfyui(input))
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

    def _left_to_comfyui(self: Any, x: torch.Tensor) -> tuple[str, Execution]:
        """What is requested of a layer in a format of ComfyUI's own or in none, and executed."""
        if self.weight is None:
            raise FileError(
                f"the file has no weight of layer {self.layer.name}: it is incomplete, or of a "
                "variant that this ComfyUI does not know. Get it again, or update ComfyUI."
            )
        if not isinstance(self.weight, QuantizedTensor):
            return dtype_name(self.weight.dtype), Execution("native", dtype_name(x.dtype))
        wide = Execution("dequantized", dtype_name(x.dtype))
        if self.weight_function or self.bias_function:
            return self.quant_format, replace(wide, reason=LORA)
        found = format_of({"format": self.quant_format}, False)
        execution = None if found is None else found.execution(self.machine)
        if self._full_precision_mm:
            reason = "" if execution is None else execution.reason
            return self.quant_format, replace(wide, reason=reason)
        return self.quant_format, execution or Execution("native", self.quant_format)

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
            return why_not_scaled(x, self.weight, self.weight._params.scale)
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
    compute_dtype: torch.dtype,
    device: torch.device,
    ledger: LinearLedger,
    weight_only: bool = False,
) -> type[Any]:
    """ComfyUI's operations with our linear layers, which count into ``ledger``.

    ``weight_only`` widens the weights of all formats and leaves activations alone.
    """
    mixed = {"mixed_ops": True}
    if weight_only:
        base = comfy.ops.mixed_precision_ops(mixed, compute_dtype, full_precision_mm=True)
    else:
        config = SimpleNamespace(quant_config=mixed)
        base = comfy.ops.pick_operations(None, compute_dtype, device, model_config=config)
    added = {"ledger": ledger, "machine": machine_of(device), "weight_only": weight_only}
    linear = type("Linear", (QuantizedLinear, base.Linear), added)
    return type("QuantizedOperations", (base,), {"Linear": linear})
