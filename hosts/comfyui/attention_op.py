"""Attention in a compiled model: one operator for each call, until its kernel is known.

Traced, an attention override would run its Python once, at compile time: a ledger would count that
call and no other, and what the compiler cannot trace would split the model into hundreds of graphs.
So the tracer is given an operator, which it does not look into. Before the graph is compiled, calls
whose kernel was chosen beforehand (:class:`...attention.lanes.Lanes`) are replaced: by torch's own
operators, or by an operator that CUDA graphs can record. The others stay, and run their override's
Python at every call, between CUDA graphs.

A recorded call runs its Python when the graph is recorded and not when it is replayed. So each call
of a graph is a site, which remembers the lane that its Python ran on last: that is what a replay
runs, and what it is counted as.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import comfy.ldm.modules.attention as comfy_attention
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from ...attention.base import Backend, InGraphs
from ...attention.lanes import Lane, Lanes, key_of, with_heads, without_heads
from .attention import OVERRIDE, Override

SETTINGS = {
    "attn_precision": None,
    "skip_reshape": False,
    "skip_output_reshape": False,
    "enable_gqa": False,
    "low_precision_attention": True,
    "scale": None,
}
"""What ComfyUI's attention functions take besides q, k, v, heads and mask, with the defaults; the
operator takes them in this order."""

PARAMETERS = (
    "Tensor q, Tensor k, Tensor v, Tensor? mask, str choice, str function, int heads, "
    "ScalarType? attn_precision, bool skip_reshape, bool skip_output_reshape, bool enable_gqa, "
    "bool low_precision_attention, float? scale"
)


class AttentionOperator:
    """An ``optimized_attention_override`` that runs the override of a model call, or core's choice.

    ``operator`` is torch's, for a whole attention call, and ``recorded`` one for calls that CUDA
    graphs record; their names begin with ``name``.
    """

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}
        self._choice = ""
        self._choices: WeakKeyDictionary[Override, str] = WeakKeyDictionary()
        self._numbers = itertools.count(1)
        self._sites: list[Lane] = []
        self._ran: set[int] = set()
        self.name = _free_name()
        self.operator = torch.library.custom_op(
            f"wattbench::{self.name}",
            self._run,
            mutates_args=(),
            schema=f"({PARAMETERS}) -> Tensor",
            tags=(torch.Tag.cudagraph_unsafe,),
        )
        self.operator.register_fake(_shape)
        self.recorded = torch.library.custom_op(
            f"wattbench::{self.name}_recorded",
            self._record,
            mutates_args=(),
            schema=f"(int site, {PARAMETERS}) -> Tensor",
        )
        self.recorded.register_fake(lambda site, *call: _shape(*call))

    def __call__(self, func: Any, q: Any, k: Any, v: Any, heads: int, *args: Any, **kw: Any) -> Any:
        """ComfyUI calls ``func(q, k, v, heads, mask=None, ...)``.

        A call with other arguments than :data:`SETTINGS` is left to the compiler.
        """
        given = {**dict(zip(("mask", "attn_precision"), args, strict=False)), **kw}
        given.pop("transformer_options", None)
        given.pop("_inside_attn_wrapper", None)
        mask = given.pop("mask", None)
        name = func.__name__
        if not hasattr(comfy_attention, name) or not given.keys() <= SETTINGS.keys():
            return func(q, k, v, heads, *args, **kw)
        values = {**SETTINGS, **given}.values()
        return self.operator(q, k, v, mask, self._choice, name, heads, *values)

    def begin(self, options: dict[str, Any]) -> None:
        """Compute the calls of the model call that goes on as its transformer options say."""
        self._options, self._choice = options, self.choice_of(options)

    def choice_of(self, options: dict[str, Any]) -> str:
        """A name for what decides about kernels: kernels become part of a graph.

        It is an argument of the operator, which keeps the graphs of two choices of this pack apart.
        Empty for any other override, whose Python runs at every call.
        """
        override = options.get(OVERRIDE)
        if not isinstance(override, Override) or override.compiled is None:
            return ""
        if override not in self._choices:
            self._choices[override] = str(next(self._numbers))
        return self._choices[override]

    @property
    def lanes(self) -> Lanes | None:
        """The lanes of this pack's choice, where it alone says what runs."""
        override = self._options.get(OVERRIDE)
        return override.compiled if isinstance(override, Override) else None

    def resolve(self, graph: torch.fx.GraphModule) -> range:
        """Put known kernels into a traced graph; the sites of these calls, for :meth:`run`.

        A call stays as it is where its kernel is not known, cannot be part of a graph, or is to be
        timed.
        """
        lanes, first = self.lanes, len(self._sites)
        if lanes is None or lanes.timed:
            return range(0)
        operator, recorded = (
            getattr(torch.ops.wattbench, name).default
            for name in (self.name, f"{self.name}_recorded")
        )
        for node in graph.graph.find_nodes(op="call_function", target=operator):
            lane = _lane_of(node, lanes)
            backend = None if lane is None else lane.plan.backend
            if lane is None or backend is None or backend.in_graphs is InGraphs.CALLED:
                continue
            if backend.in_graphs is InGraphs.RECORDED:
                node.target, node.args = recorded, (len(self._sites), *node.args)
            else:
                _inline(graph.graph, node, backend)
            self._sites.append(lane)
        graph.recompile()
        return range(first, len(self._sites))

    def run(self, sites: range, graph: Callable[..., Any], *inputs: Any) -> Any:
        """Run a compiled graph, and count the calls at ``sites`` that were not counted in it."""
        self._ran.clear()
        out = graph(*inputs)
        for site in sites:
            if site not in self._ran:
                self._sites[site].tally.call_count += 1
        return out

    def _record(self, site: int, *call: Any) -> Any:
        """The operator at a site; a kernel that fails is replaced there as everywhere."""
        out = self._run(*call)
        lanes = self.lanes
        if lanes is not None and lanes.latest is not None:
            self._sites[site] = lanes.latest
            self._ran.add(site)
        return out

    def _run(
        self,
        q: Any,
        k: Any,
        v: Any,
        mask: Any,
        choice: str,
        function: str,
        heads: int,
        *values: Any,
    ) -> Any:
        """The operator at run time; its output has the strides that :func:`_shape` promises."""
        func = getattr(comfy_attention, function).__wrapped__
        given = _arguments(values)
        given.update(transformer_options=self._options, _inside_attn_wrapper=True)
        override = self._options.get(OVERRIDE)
        if override is None:
            return func(q, k, v, heads, mask=mask, **given).contiguous()
        attend = override if self.lanes is None else self.lanes.attend
        return attend(func, q, k, v, heads, mask=mask, **given).contiguous()


def is_traceable(options: dict[str, Any]) -> bool:
    """Whether a model call's attention is core's PyTorch function, which compiles as it is."""
    core = comfy_attention.optimized_attention
    return OVERRIDE not in options and core is comfy_attention.attention_pytorch


def _lane_of(node: torch.fx.Node, lanes: Lanes) -> Lane | None:
    """The lane of the operator's call in a traced graph; ``None`` where a size is not fixed."""
    arguments: tuple[Any, ...] = node.args
    q, k, v, mask = (a and a.meta["example_value"] for a in arguments[:4])
    shapes = (tensor.shape for tensor in (q, k, v, mask) if tensor is not None)
    if not all(isinstance(size, int) for shape in shapes for size in shape):
        return None
    given = _arguments(arguments[7:])
    precision, has_heads = given.pop("attn_precision", None), given.pop("skip_reshape", False)
    given.pop("skip_output_reshape", None)
    given.update(transformer_options=None, _inside_attn_wrapper=True)
    return lanes.known(key_of(q, k, v, arguments[6], mask, precision, has_heads, given))


def _inline(graph: torch.fx.Graph, node: torch.fx.Node, backend: Backend) -> None:
    """Put torch's own operators, as ``backend`` calls them, in the place of the operator's call.

    Operators and not a function of ours: torch keeps on disk only graphs whose every part it knows.
    """
    arguments: tuple[Any, ...] = node.args
    heads, settings = arguments[6], dict(zip(SETTINGS, arguments[7:], strict=True))

    def attend(q: Any, k: Any, v: Any, mask: Any) -> Any:
        has_heads, grouped = settings["skip_reshape"], settings["enable_gqa"]
        hnd = with_heads(q, k, v, heads, mask, has_heads, grouped)
        out = backend(*hnd, settings["scale"])
        return out if settings["skip_output_reshape"] else without_heads(out)

    examples = [given and given.meta["example_value"] for given in arguments[:4]]
    traced = make_fx(attend)(*examples).graph
    given = iter(arguments[:4])
    copies: dict[torch.fx.Node, Any] = {}
    with graph.inserting_before(node):
        for part in traced.nodes:
            if part.op == "placeholder":
                copies[part] = next(given)
            elif part.op == "output":
                node.replace_all_uses_with(copies[part.args[0]])
            else:
                copies[part] = graph.node_copy(part, copies.__getitem__)
                copies[part].meta["example_value"] = part.meta.get("val")
    graph.erase_node(node)


def _arguments(values: tuple[Any, ...]) -> dict[str, Any]:
    """The operator's settings that differ from the defaults, by name."""
    given = zip(SETTINGS, values, strict=True)
    return {name: value for name, value in given if value != SETTINGS[name]}


def _free_name() -> str:
    """A name that is free; the same after every start, so that torch's cache on disk serves."""
    names = (f"attention_{number}" for number in itertools.count())
    return next(name for name in names if not hasattr(torch.ops.wattbench, name))


def _shape(
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    choice: str,
    function: str,
    heads: int,
    attn_precision: Any,
    skip_reshape: bool,
    skip_output_reshape: bool,
    enable_gqa: bool,
    low_precision_attention: bool,
    scale: float | None,
) -> Any:
    """An empty tensor of attention's shape: ``[batch, heads, q_len, head_dim]``, or heads flat."""
    batch, q_len = q.shape[0], q.shape[-2]
    head_dim = q.shape[-1] if skip_reshape else q.shape[-1] // heads
    if skip_output_reshape:
        return q.new_empty((batch, heads, q_len, head_dim))
    return q.new_empty((batch, q_len, heads * head_dim))
