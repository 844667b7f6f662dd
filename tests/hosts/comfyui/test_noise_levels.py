"""Samplers that ask the host for noise levels: the same bits, and fewer questions to the device."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

QUESTIONS = {"item", "_local_scalar_dense", "is_nonzero"}
"""Operators of torch by which a tensor is asked for its value; a GPU would be waited for."""


@pytest.fixture(scope="module")
def noise_levels(comfyui):
    from wattbench.hosts.comfyui import noise_levels

    return noise_levels


class Asked(TorchDispatchMode):
    """Counts questions to tensors."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += str(function).split(".")[1] in QUESTIONS
        return function(*args, **(kwargs or {}))


@pytest.fixture
def sample(comfyui, tiny_models, jobs):
    """Sample with an arithmetic stand-in for the network; the latent and the questions asked.

    Only what the sampler does is of interest, and it does the same with any network.
    """
    from comfy.patcher_extension import WrappersMP

    def network(apply, given):
        level = given["timestep"].view(-1, 1, 1, 1)
        return given["input"] * 0.3 + level.clamp(max=3) * 0.01

    def run(name, steps, change=lambda model: model):
        asked = Asked()

        def watch(executor, *args, **kw):
            with asked:
                return executor(*args, **kw)

        model = tiny_models().model.clone()
        model.set_model_unet_function_wrapper(network)
        model = change(model)
        model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "test", watch)
        (latent,) = comfyui.KSampler().sample(model, 3, steps, 5.0, name, "normal", **jobs("sdxl"))
        return latent["samples"], asked.count

    return run


@pytest.mark.filterwarnings("ignore")
def test_every_sampler_computes_the_same_bits_and_asks_less(noise_levels, sample):
    from comfy.samplers import KSampler

    for name in KSampler.SAMPLERS:
        expected, asked = sample(name, 4)
        latent, still_asked = sample(name, 4, noise_levels.keep_levels_on_host)
        assert torch.equal(latent, expected), name
        assert type(latent) is torch.Tensor, name
        assert still_asked < asked, name


WITHOUT_ROOTS = ("heun", "dpm_2", "dpmpp_2m", "res_multistep", "sa_solver")
WITH_ROOTS = ("euler_ancestral", "dpmpp_2s_ancestral")


@pytest.fixture
def rounded_roots(noise_levels, monkeypatch):
    """As on a card, whose roots are rounded as prescribed."""
    monkeypatch.setattr(noise_levels, "ROOTS", {"cpu"})


@pytest.mark.parametrize("name", WITH_ROOTS)
def test_ancestral_samplers_ask_nothing_where_roots_are_rounded(
    name, noise_levels, sample, rounded_roots
):
    few, many = (sample(name, n, noise_levels.keep_levels_on_host)[1] for n in (3, 6))
    assert many == few


@pytest.mark.parametrize("name", WITHOUT_ROOTS)
def test_the_number_of_questions_does_not_grow_with_the_steps(name, noise_levels, sample):
    assert sample(name, 6)[1] > sample(name, 3)[1]
    few, many = (sample(name, n, noise_levels.keep_levels_on_host)[1] for n in (3, 6))
    assert many == few


@pytest.fixture
def levels(noise_levels):
    return noise_levels.known_on_host(torch.tensor([14.6, 7.25, 0.3, 0.0]))


EXACT = {
    "index": lambda x: x[1],
    "last": lambda x: x[-1],
    "slice": lambda x: x[1:],
    "tuple": lambda x: x[1:, ...],
    "power": lambda x: x[0] ** 2,
    "quotient": lambda x: x[1] / x[0],
    "from one": lambda x: 1 - x[2],
    "twice": lambda x: 0.1 * x[2] + x[1] * 3 - 0.7,
    "negative": lambda x: -x[1],
    "most": lambda x: x.max(),
    "least": lambda x: min(x[0], x[1]),
    "clone": lambda x: x.clone(),
    "compared": lambda x: x[1:] < x[:-1],
    "zero": lambda x: x[3] == 0,
}
UNKNOWN = {
    "root": lambda x: (x[0] ** 2 - x[1] ** 2) ** 0.5,
    "sqrt": lambda x: x.sqrt(),
    "logarithm": lambda x: x[1].log(),
    "powers": lambda x: x ** torch.tensor([1.0, 2.0, 3.0, 0.5]),
    "cube": lambda x: x[1] ** 3,
    "by a number": lambda x: x[1] / 3,
    "with a plain one": lambda x: x[1] * torch.ones(2),
    "by a mask": lambda x: x[x > 0],
    "another dtype": lambda x: x.double(),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_copy_has_every_bit(name, levels, noise_levels):
    result = EXACT[name](levels)
    assert isinstance(result, noise_levels.NoiseLevels)
    plain = result.as_subclass(torch.Tensor)
    assert torch.equal(plain, EXACT[name](levels.as_subclass(torch.Tensor)))
    assert plain.numpy().dtype == result.host.dtype
    assert np.array_equal(plain.numpy(), result.host)
    with Asked() as asked:
        assert result.tolist() == plain.numpy().tolist()
    assert asked.count == 0


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_may_differ_in_a_bit_is_asked_of_the_device(name, levels):
    result = UNKNOWN[name](levels)
    assert type(result) is torch.Tensor
    assert torch.equal(result, UNKNOWN[name](levels.as_subclass(torch.Tensor)))


def test_what_is_written_into_levels_is_in_the_copy(levels):
    """As UniPC writes into a part of its levels, which is a view."""
    part = levels[1:]
    part[-1] = 0.001
    first = levels[0]
    first[...] = levels[1]
    assert levels.tolist() == levels.as_subclass(torch.Tensor).numpy().tolist()
    assert float(levels[3]) == np.float32(0.001)
    assert bool(levels[0] == 7.25)


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x[1:].mul_(2),
        lambda x: x.__setitem__(torch.tensor([0]), 3.0),
        lambda x: x.__setitem__(0, torch.tensor(3.0)),
        lambda x: torch.add(torch.ones(4), 1, out=x),
    ],
)
def test_what_the_copy_cannot_follow_makes_all_of_them_plain(write, levels):
    view = levels[:2]
    write(levels)
    for each in (levels, view):
        assert each.tolist() == each.as_subclass(torch.Tensor).numpy().tolist()
        assert type(each[0]) is torch.Tensor


def test_a_root_is_known_where_it_is_rounded(levels, rounded_roots, noise_levels):
    for root in (levels[1:].sqrt(), levels[1:] ** 0.5):
        assert isinstance(root, noise_levels.NoiseLevels)
        assert root.tolist() == pytest.approx([7.25**0.5, 0.3**0.5, 0.0])


def test_levels_of_other_dtypes_stay_plain(noise_levels):
    half = torch.ones(3, dtype=torch.bfloat16)
    assert noise_levels.known_on_host(half) is half
    once = noise_levels.known_on_host(torch.ones(3, dtype=torch.float64))
    assert noise_levels.known_on_host(once) is once


def test_it_is_named_and_the_original_stays(noise_levels, tiny_models):
    from wattbench.hosts.comfyui.describe import model_facts

    model = tiny_models().model
    twice = noise_levels.keep_levels_on_host(noise_levels.keep_levels_on_host(model))
    assert model_facts(twice)["optimizations"] == "noise_levels host"
    assert model_facts(model)["optimizations"] == ""
    (wrappers,) = [keys for keys in twice.wrappers.values() if noise_levels.KEY in keys]
    assert len(wrappers[noise_levels.KEY]) == 1
