"""Noise levels that are known on the host too, so that samplers need not ask the card for them.

Samplers ask at every step whether a level is zero, is above another, or what it is. A tensor on a
GPU answers when all work before the question has run, and the GPU then waits for what the host
queues next. Here the levels stay the tensors that they are, and all arithmetic with them is done
where they lie; but what is asked of them is answered from a copy on the host. The copy follows
through operations of which IEEE 754 prescribes every bit; what comes out of any other one is a
plain tensor, of which the card is asked as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from comfy.patcher_extension import WrappersMP

from .identity import attach_optimization

KEY = "wattbench_noise_levels"
NAME = "noise_levels host"

DTYPES = {torch.float32: np.float32, torch.float64: np.float64}
"""Those that the copy can have; levels of others stay plain tensors."""

ANSWERS: dict[str, Callable[[Any], Any]] = {
    "__bool__": bool,
    "__float__": float,
    "__int__": int,
    "item": lambda host: host.item(),
    "tolist": lambda host: host.tolist(),
}
"""What is asked of a tensor, by the name of torch's function, and how the copy answers."""

COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    **COMPARISONS,
    **{f"__{name}__": compare for name, compare in COMPARISONS.items()},
    "add": np.add,
    "__radd__": np.add,
    "sub": np.subtract,
    "__rsub__": lambda a, b: np.subtract(b, a),
    "mul": np.multiply,
    "__rmul__": np.multiply,
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": np.negative,
    "abs": np.abs,
    "min": np.min,
    "max": np.max,
    "clone": np.copy,
    "detach": lambda host: host,
    "as_tensor": lambda host: host,
}
ROOTS = {"cuda"}
QUOTIENTS = {"cuda", "cpu"}
"""Devices on which torch rounds square roots and quotients as IEEE 754 prescribes. On a CPU its
roots do not (torch 2.11: one of six is off by a bit)."""


@dataclass
class Origin:
    """What all that came from the same levels share: where they lie, and if copies are right."""

    device: str
    is_known: bool = True


def keep_levels_on_host(model: Any) -> Any:
    """A clone of ``model`` whose samplers get their noise levels with a copy on the host.

    They compute the same numbers, bit for bit.
    """
    kept = model.clone()
    kept.remove_wrappers_with_key(WrappersMP.SAMPLER_SAMPLE, KEY)
    kept.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, _sample)
    attach_optimization(kept, "noise_levels", NAME)
    return kept


def known_on_host(levels: torch.Tensor) -> torch.Tensor:
    """The same levels, with their copy: the last time that the device is asked for them."""
    if levels.dtype not in DTYPES or isinstance(levels, NoiseLevels):
        return levels
    return NoiseLevels.of(levels, levels.detach().cpu().numpy().copy(), Origin(levels.device.type))


def _sample(executor: Any, guider: Any, sigmas: Any, *args: Any, **kw: Any) -> Any:
    """ComfyUI calls ``(guider, sigmas, extra_args, callback, noise, ...)``."""
    return executor(guider, known_on_host(sigmas), *args, **kw)


class NoiseLevels(torch.Tensor):
    """A tensor, or an answer of a comparison, with the same numbers on the host.

    Writing into one of an origin in a way that the copies cannot follow makes all of them plain.
    """

    host: np.ndarray[Any, Any]
    origin: Origin

    @classmethod
    def of(cls, levels: torch.Tensor, host: Any, origin: Origin) -> NoiseLevels:
        """``levels`` with their copy, an array or number of the same shape."""
        made: NoiseLevels = levels.as_subclass(cls)
        made.host, made.origin = np.asarray(host), origin
        return made

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name: str = func.__name__
        first: Any = args[0] if args else None
        is_first = isinstance(first, NoiseLevels) and first.origin.is_known and not kwargs
        if is_first and len(args) == 1 and name in ANSWERS:
            return ANSWERS[name](first.host)
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*_plain(args), **_plain(kwargs))
        if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
            _written(args, is_first and name == "__setitem__")
        elif "out" in kwargs:
            _written((kwargs["out"],), can_follow=False)
        elif is_first and isinstance(result, torch.Tensor):
            host = _follow(name, args)
            if host is not None and np.shape(host) == tuple(result.shape):
                return NoiseLevels.of(result, host, first.origin)
        return result


def _plain(value: Any) -> Any:
    """The same with plain tensors, in tuples, lists and dictionaries."""
    if isinstance(value, NoiseLevels):
        return value.as_subclass(torch.Tensor)
    if isinstance(value, (tuple, list)):
        return type(value)(map(_plain, value)) if type(value) in (tuple, list) else value
    if type(value) is dict:
        return {key: _plain(inner) for key, inner in value.items()}
    return value


def _follow(name: str, args: tuple[Any, ...]) -> Any:
    """What the copy becomes; ``None`` where not every bit of it is prescribed."""
    host, device, others = args[0].host, args[0].origin.device, args[1:]
    with np.errstate(all="ignore"):
        if len(others) > 1:
            return None
        power = others[0] if name == "pow" and isinstance(others[0], (int, float)) else None
        if name == "sqrt" or power == 0.5:
            return np.sqrt(host) if device in ROOTS else None
        if not others:
            return UNARY[name](host) if name in UNARY else None
        if name == "__getitem__":
            return host[_with_rest(others[0])] if _is_simple(others[0]) else None
        if name == "pow":
            return np.square(host) if power == 2 else None
        if name in ("div", "true_divide", "__truediv__"):
            # By a number a GPU multiplies with its inverse, which is another bit now and then.
            other = _known(others[0])
            return None if other is None or device not in QUOTIENTS else np.divide(host, other)
        if name in BINARY:
            is_number = isinstance(others[0], (int, float)) and not isinstance(others[0], bool)
            other = host.dtype.type(others[0]) if is_number else _known(others[0])
            return None if other is None else BINARY[name](host, other)
    return None


def _known(value: Any) -> Any:
    """The copy of levels; ``None`` of anything else."""
    return value.host if isinstance(value, NoiseLevels) and value.origin.is_known else None


def _is_simple(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(type(part) is int or isinstance(part, slice) or part is Ellipsis for part in parts)


def _with_rest(index: Any) -> Any:
    """The index that gives a view where torch's does, a single number included."""
    parts = index if isinstance(index, tuple) else (index,)
    return parts if Ellipsis in parts else (*parts, ...)


def _written(args: tuple[Any, ...], can_follow: bool) -> None:
    """Write into the copy what was written into the levels, or forget all copies."""
    if can_follow and len(args) == 3 and _is_simple(args[1]):
        levels, index, value = args
        known = value if isinstance(value, (int, float)) else _known(value)
        if known is not None:
            levels.host[_with_rest(index)] = known
            return
    for value in args[:1]:
        if isinstance(value, NoiseLevels):
            value.origin.is_known = False
