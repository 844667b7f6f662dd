"""torch.compile for one clone of a model, with the compilation kept out of the sampling."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers import set_torch_compile_wrapper
from torch._dynamo.utils import counters

from ...offer import Offer
from .attention_op import OVERRIDE, AttentionOperator, is_traceable
from .identity import attach_optimization
from .ledgers import ledgers_of
from .static_vram import static_clone

KEY = "wattbench_compile"
NAME = "compile"
BACKEND = "inductor"
MODES = ("reduce-overhead", "default", "max-autotune-no-cudagraphs", "max-autotune")
"""Modes of torch.compile; the first is this pack's default. On an H200, SDXL is bound by the time
that the host takes to launch kernels, and CUDA graphs are what takes that away."""

GRAPH_MODES = ("reduce-overhead", "max-autotune")
"""Those that record CUDA graphs."""

OWN_ALLOCATOR = "--disable-cuda-malloc"
"""ComfyUI's launch option without which it takes cudaMallocAsync on most NVIDIA cards. With that
allocator torch 2.11 fails as soon as a graph is replayed (seen on an H200)."""

RECORDINGS = 3
"""Evaluations that a mode with CUDA graphs takes before it replays: warm-up, recording, replay."""

RECOMPILE_LIMIT = 64
"""Shapes that one model may be compiled for. torch's own limit of 8 ends in uncompiled code."""

STATELESS = ("torch.nn.attention._sdpa_kernel", "torch.nn.attention._backend_from_string")
"""Functions in the graphs of ComfyUI's attention that do the same for the same arguments. torch
2.11 does not know that of them, and would trace and lower such a graph after every start."""

TRITON_FROM = (7, 0)
"""Least compute capability of Triton, the compiler's back end on NVIDIA cards."""


def compile_offer(device: torch.device, mode: str = "default") -> Offer:
    """Whether torch.compile can work in a mode for models on ``device``, or what it lacks."""
    reason, remedy = _refusal(device)
    if not reason and mode in GRAPH_MODES and device.type == "cuda" and _is_malloc_async():
        reason = (
            "CUDA graphs need torch's own allocator, and this ComfyUI runs with cudaMallocAsync"
        )
        remedy = f"Start ComfyUI with {OWN_ALLOCATOR}, or choose the mode default"
    return Offer(NAME, f"torch.compile on {device.type}", not reason, reason, remedy)


def _is_malloc_async() -> bool:
    return torch.cuda.get_allocator_backend() == "cudaMallocAsync"


def compile_model(model: Any, mode: str = MODES[0], dynamic: bool | None = None) -> Any:
    """A clone of ``model`` whose diffusion model is compiled when it first samples a shape.

    The original and its other clones stay uncompiled. Where weights fault in while the model runs
    (dynamic VRAM), the clone loads its own. Attention, overridden or not, runs as it does without
    compilation.

    Args:
        mode: one of :data:`MODES`.
        dynamic: True compiles once for all sizes, False once for each; ``None`` starts with the
            first size and generalises with the second.

    Raises:
        ValueError: an unknown mode, no compiler for the model's device, or weights that fault in
            and cannot be loaded otherwise.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; choose one of {', '.join(MODES)}")
    offer = compile_offer(model.load_device, mode)
    if not offer.available:
        raise ValueError(f"this machine cannot compile: {offer.reason}. {offer.remedy}")
    compiled = static_clone(model)
    compilation = _Compilation(mode, dynamic)
    compiled.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, KEY)
    compiled.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, compilation.apply_model)
    _put_first(compiled, WrappersMP.SAMPLER_SAMPLE, compilation.sampler_sample)
    set_torch_compile_wrapper(compiled, compilation.compile_graph, dynamic=dynamic)
    details = [mode] if mode != MODES[0] else []
    details += ["dynamic" if dynamic else "static"] if dynamic is not None else []
    attach_optimization(compiled, NAME, " ".join((NAME, *details)))
    return compiled


class _Compilation:
    """The wrappers of one compiled model, and what it has been compiled for: choice and shapes."""

    def __init__(self, mode: str, dynamic: bool | None) -> None:
        self._attention = AttentionOperator()
        self._mode, self._dynamic = mode, dynamic
        self._evaluations = RECORDINGS if mode in GRAPH_MODES else 1
        self._compiled: set[Any] = set()

    def apply_model(
        self, executor: Any, x: Any, t: Any, concat: Any, crossattn: Any, control: Any,
        transformer_options: dict[str, Any], **kw: Any,
    ) -> Any:  # fmt: skip
        """Let the compiled model see attention as one operator, unless it compiles as it is.

        The operator comes first: the order of keys is part of a graph's guards.
        """
        if not is_traceable(transformer_options):
            self._attention.begin(transformer_options)
            others = {k: v for k, v in transformer_options.items() if k != OVERRIDE}
            transformer_options = {OVERRIDE: self._attention, **others}
        return executor(x, t, concat, crossattn, control, transformer_options, **kw)

    def compile_graph(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        """torch.compile's back end: the kernels of known attention calls become part of a graph."""
        sites = self._attention.resolve(graph)
        compiler: Any = torch._dynamo.lookup_backend(BACKEND)
        options = torch._inductor.list_mode_options(self._mode, self._dynamic)
        options["unsafe_marked_cacheable_functions"] = dict.fromkeys(STATELESS, "1")
        run = compiler(graph, inputs, config_patches=options)
        return partial(self._attention.run, sites, run) if sites else run

    def sampler_sample(self, executor: Any, *args: Any, **kw: Any) -> Any:
        """Compile by evaluations whose results are dropped, then sample.

        ComfyUI calls ``(guider, sigmas, extra_args, callback, noise, ...)``.
        """
        guider, sigmas, extra_args, _, noise = args[:5]
        options = guider.model_options.get("transformer_options", {})
        known_as = self._attention.choice_of(options), _shapes(guider, noise)
        with torch._dynamo.config.patch(
            recompile_limit=RECOMPILE_LIMIT, fail_on_recompile_limit_hit=True
        ):
            if known_as not in self._compiled:
                before, start_s = _graphs(), time.perf_counter()
                evaluate = partial(
                    guider, noise * sigmas[0], sigmas[:1].expand(noise.shape[0]), **extra_args
                )
                with torch.compiler.set_stance("force_eager"):
                    evaluate()  # attention kernels are chosen here, before they are part of a graph
                for _ in range(self._evaluations):
                    evaluate()
                ledgers_of(guider.model_patcher).clear()
                self._compiled.add(known_as)
                _tell(before, time.perf_counter() - start_s)
            before = _graphs()
            try:
                return executor(*args, **kw)
            finally:
                if _graphs() != before:
                    logging.warning(
                        "WattBench: the model was compiled anew while it sampled, so that this "
                        "sampling's time and energy hold compilation. Repeat it to measure it."
                    )


def _tell(before: tuple[int, int], duration_s: float) -> None:
    graphs, breaks = (now - then for now, then in zip(_graphs(), before, strict=True))
    logging.info(
        "WattBench: torch.compile made %d graphs with %d graph breaks in %.1f s, before the "
        "sampling", graphs, breaks, duration_s,
    )  # fmt: skip


def _graphs() -> tuple[int, int]:
    """Graphs that this process has compiled, and places where it had to break one."""
    return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())


def _shapes(guider: Any, noise: Any) -> Any:
    """What decides which shapes a model is called with."""
    conditions = [
        (kind, index, name, tuple(getattr(value.cond, "shape", ())))
        for kind, conds in guider.conds.items()
        for index, cond in enumerate(conds)
        for name, value in cond.get("model_conds", {}).items()
    ]
    return tuple(noise.shape), getattr(guider, "cfg", None) == 1.0, tuple(conditions)


def _put_first(model: Any, kind: str, wrapper: Any) -> None:
    """Add a wrapper outside of all others, so that no probe sees what it does beforehand."""
    others = {key: found for key, found in model.wrappers.get(kind, {}).items() if key != KEY}
    model.wrappers[kind] = {KEY: [wrapper], **others}


def _refusal(device: torch.device) -> tuple[str, str]:
    """A reason and a remedy, both empty where nothing stands in the way."""
    if not (hasattr(torch.Tag, "cudagraph_unsafe") and hasattr(torch.compiler, "set_stance")):
        return f"torch {torch.__version__} is too old for it", "Update torch, or bypass this node."
    if device.type == "cpu":
        if _program("CXX", "g++", "clang++", "cl") is None:
            return "no C++ compiler was found", "Install g++ (Debian: apt install g++)."
        return "", ""
    if device.type != "cuda":
        return f"{device.type} devices are not supported", "Bypass this node."
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < TRITON_FROM:
        return "the card is older than compute capability 7.0", "Bypass this node."
    if not torch.utils._triton.has_triton_package():
        return "Triton is not installed", "pip install triton (Windows: triton-windows)."
    if os.name != "nt" and _program("CC", "gcc", "clang") is None:
        return "Triton needs a C compiler", "Install gcc (Debian: apt install gcc)."
    return "", ""


def _program(variable: str, *names: str) -> str | None:
    """The program that an environment variable names, or the first of ``names`` that exists."""
    chosen = os.environ.get(variable)
    return next(
        (path for name in ([chosen] if chosen else names) if (path := shutil.which(name))), None
    )
