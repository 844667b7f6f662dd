"""The attention of Forge's denoiser: another kernel where one was chosen, and a count in any case.

Forge's networks import ``attention_function`` by name, so it is replaced in each of their modules
and not where it is made: Forge estimates memory by what stands there.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from backend import attention as forge_attention
from modules import paths_internal

from ...attention import BACKENDS
from ...attention.auto import failure
from ...attention.choices import Choices
from ...attention.lanes import Lanes
from ...attention.ledger import IdleWatch, Ledger, clock_of
from ...attention.plan import AUTO, Planner, Setting
from ...offer import Machine
from ...records import KernelCalls
from .describe import FUNCTIONS_PREFIX, attention_name
from .hooks import replaced

FORGE = "forge"
"""Leave the choice to Forge and count."""

PREFIX = "forge:"
NAMES = ("pytorch", "sub_quad", "split", "basic", "xformers", "sage", "flash")
"""Forge's own functions, of all of its branches."""

KERNELS = {"attention_sage": "sageattn", "attention_flash": "flash_attn_wrapper"}
"""What a function of Forge's calls, unless it falls back, by names in its module."""

XFORMERS = "xformers"
PLAIN = "attention_pytorch"
PASSED_OVER = "it did not call its kernel"
UNCOVERED = "the model made no attention call that could be counted"


def attention_choices() -> list[str]:
    """Every name that can be asked for; the same on every machine."""
    return [FORGE, AUTO, *(b.name for b in BACKENDS), *(PREFIX + name for name in NAMES)]


def forge_functions() -> dict[str, Callable[..., Any]]:
    """Forge's own attention functions that can run here, by :data:`NAMES`."""
    known = vars(forge_attention)
    found = {name: known.get(FUNCTIONS_PREFIX + name) for name in NAMES}
    needed = {"xformers": XFORMERS, "sage": "sageattn", "flash": "flash_attn_func"}
    return {
        name: function
        for name, function in found.items()
        if function is not None and (name not in needed or needed[name] in known)
    }


class ForgeConvention:
    """How Forge calls its functions; see :class:`...attention.lanes.Convention`.

    ``fell_back`` says why the latest call ran another kernel than its function is named after.
    """

    def __init__(self) -> None:
        self.fell_back = ""
        self._kernel_calls = 0
        self._plain_calls = 0
        self._reason = ""
        self._takes = len(inspect.signature(forge_attention.get_attn_precision).parameters)

    def precision(self, asked: Any, dtype: Any) -> Any:
        """Neo asks for the dtype too."""
        return forge_attention.get_attn_precision(*(asked, dtype)[: self._takes])

    def run(
        self,
        function: Callable[..., Any],
        q: Any,
        k: Any,
        v: Any,
        heads: int,
        mask: Any,
        attn_precision: Any,
        arguments: dict[str, Any],
    ) -> Any:
        """Forge's functions take no more than they are given: some branches know no others."""
        if not arguments.get("skip_output_reshape"):
            arguments = {k: v for k, v in arguments.items() if k != "skip_output_reshape"}
        self._kernel_calls = self._plain_calls = 0
        self._reason = ""
        out = function(q, k, v, heads, mask=mask, attn_precision=attn_precision, **arguments)
        self.fell_back = self._why_not(getattr(function, "__name__", ""))
        return out

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block, Forge's kernels are heard: their calls, their errors, their logs."""
        known = vars(forge_attention)
        logger = known.get("logger")
        handler = _Errors(self)
        with ExitStack() as stack:
            for name in set(KERNELS.values()) & known.keys():
                stack.enter_context(replaced(forge_attention, name, self._kernel))
            if PLAIN in known:
                stack.enter_context(replaced(forge_attention, PLAIN, self._plain))
            if isinstance(logger, logging.Logger):
                logger.addHandler(handler)
                stack.callback(logger.removeHandler, handler)
            yield

    def heard(self, reason: str) -> None:
        """Forge has told that something failed."""
        self._reason = self._reason or reason

    def _why_not(self, name: str) -> str:
        if name in KERNELS and KERNELS[name] in vars(forge_attention):
            return "" if self._kernel_calls else self._reason or PASSED_OVER
        if name != PLAIN and self._plain_calls:
            return self._reason or PASSED_OVER
        return ""

    def _kernel(self, original: Any, *args: Any, **kw: Any) -> Any:
        try:
            out = original(*args, **kw)
        except Exception as error:
            self.heard(failure(error))
            raise
        self._kernel_calls += 1
        return out

    def _plain(self, original: Any, *args: Any, **kw: Any) -> Any:
        self._plain_calls += 1
        return original(*args, **kw)


class ForgeAttention:
    """Computes the attention calls of samplings as ``setting`` says, and counts them.

    Args:
        is_sampling: whether a sampling goes on in this thread; other calls are Forge's alone.
    """

    def __init__(
        self, setting: Setting, machine: Machine, choices: Choices, is_sampling: Callable[[], bool]
    ) -> None:
        self.setting = setting
        self._convention = ForgeConvention()
        self._functions = forge_functions()
        planner = Planner(setting, machine, choices, self._functions, "Forge")
        self._ledger = Ledger(setting.requested, clock_of(machine.kind))
        may_wait = setting.requested == AUTO and machine.kind == "cuda"
        watch = IdleWatch() if may_wait else None
        self._lanes = Lanes(planner, self._ledger, self._convention, setting.timed, watch)
        self._is_sampling = is_sampling

    @property
    def name(self) -> str:
        """What stands in a condition: what was chosen, or what Forge itself is set to."""
        return attention_name() if self.setting.requested == FORGE else self.setting.name

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within the block, Forge's networks ask here."""
        with ExitStack() as stack:
            for module, name in _places():
                stack.enter_context(replaced(module, name, self._attend))
            stack.enter_context(self._convention.listening())
            yield

    def clear(self) -> None:
        """Forget the calls that were counted; the kernels stay chosen."""
        self._ledger.clear()

    def read(self) -> list[KernelCalls]:
        """The calls since the ledger was cleared, or that there was none."""
        counts = self._ledger.read()
        if not counts:
            return [KernelCalls("attention", self.setting.requested, "none", 0, None, UNCOVERED)]
        return [
            KernelCalls("attention", c.requested, c.executed, c.call_count, c.duration_s, c.reason)
            for c in counts
        ]

    def _attend(self, original: Any, *args: Any, **kw: Any) -> Any:
        if not self._is_sampling():
            return original(*args, **kw)
        self._convention.fell_back = ""
        out = self._lanes.attend(original, *args, **kw)
        lane = self._lanes.latest
        if self._convention.fell_back and lane is not None:
            other = self._ledger.tally(f"{PREFIX}pytorch", self._convention.fell_back)
            lane.tally.call_count -= 1
            other.call_count += 1
            if lane.tally.spans:
                other.spans.append(lane.tally.spans.pop())
        return out


class _Errors(logging.Handler):
    """Forge Neo logs that a kernel failed, and goes on with another."""

    def __init__(self, convention: ForgeConvention) -> None:
        super().__init__(logging.ERROR)
        self._convention = convention

    def emit(self, record: logging.LogRecord) -> None:
        self._convention.heard(record.getMessage())


def _places() -> Iterator[tuple[Any, str]]:
    """Modules of Forge and its extensions that hold its attention function, and their name of it.

    Forge's own module keeps it: what asks there when it computes is out of reach.
    """
    root = Path(paths_internal.script_path)
    chosen = forge_attention.attention_function
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if module is forge_attention or not file or root not in Path(file).parents:
            continue
        for name, value in list(vars(module).items()):
            if value is chosen:
                yield module, name
