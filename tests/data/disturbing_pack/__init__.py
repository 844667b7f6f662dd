"""A foreign node pack for the tests: it patches sampling, and disturbs it where it is told to."""

import functools
import os
import time
from pathlib import Path

import comfy.samplers
import torch
from comfy_api.latest import ComfyExtension, io

ORIGINAL = comfy.samplers.calc_cond_batch


@functools.wraps(ORIGINAL)
def calc_cond_batch(*args, **kw):
    return ORIGINAL(*args, **kw)


comfy.samplers.calc_cond_batch = calc_cond_batch


def patched(model, before):
    """A clone of ``model`` that calls ``before()`` and then computes what the model does."""

    def compute(apply, options):
        before()
        return apply(options["input"], options["timestep"], **options["c"])

    clone = model.clone()
    clone.set_model_unet_function_wrapper(compute)
    return io.NodeOutput(clone)


class WaitInSampling(io.ComfyNode):
    """A model whose first forward writes the process's number into a file and waits for another."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="WaitInSampling",
            category="tests",
            inputs=[io.Model.Input("model"), io.String.Input("inside"), io.String.Input("gate")],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model, inside, gate):
        def wait():
            if not Path(inside).exists():
                Path(f"{inside}.new").write_text(str(os.getpid()), "utf-8")
                Path(f"{inside}.new").replace(inside)
            while not Path(gate).exists():
                time.sleep(0.01)

        return patched(model, wait)


class CompileInSampling(io.ComfyNode):
    """A model that compiles a function within its first sampling, and never again."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CompileInSampling",
            category="tests",
            inputs=[io.Model.Input("model")],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model):
        double = torch.compile(lambda x: x * 2, backend="eager", dynamic=False)
        return patched(model, lambda: double(torch.ones(3)))


class FailInSampling(io.ComfyNode):
    """A model whose forward raises once, at the call of that number."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="FailInSampling",
            category="tests",
            inputs=[io.Model.Input("model"), io.Int.Input("at")],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model, at):
        calls = iter(range(at))

        def fail():
            if next(calls, None) == at - 1:
                raise KeyError("a planted fault")

        return patched(model, fail)


class SeedList(io.ComfyNode):
    """Several numbers, over which ComfyUI maps the node behind."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SeedList",
            category="tests",
            inputs=[io.Int.Input("seed", default=0)],
            outputs=[io.Int.Output(is_output_list=True)],
        )

    @classmethod
    def execute(cls, seed):
        return io.NodeOutput([10 * seed, 20 * seed])


class DisturbingExtension(ComfyExtension):
    async def get_node_list(self):
        return [WaitInSampling, CompileInSampling, FailInSampling, SeedList]


async def comfy_entrypoint():
    return DisturbingExtension()
