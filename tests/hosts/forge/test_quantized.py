"""Files of this pack in Forge's loader: matrices stay stored, and compute as their format says."""

import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from wattbench.hosts.forge import quantized
from wattbench.quant.files import FileError
from wattbench.quant.formats import find

PREFIX = "model.diffusion_model."
NAMES = [f"input_blocks.{block}.{layer}" for block in range(8) for layer in ("q", "k")]
WIDTH = 64


class Network(torch.nn.Module):
    """Two matrices a block, with and without bias, and a vector that no format takes."""

    def __init__(self):
        super().__init__()
        blocks = [
            torch.nn.ModuleDict(
                {
                    "q": torch.nn.Linear(WIDTH, WIDTH),
                    "k": torch.nn.Linear(WIDTH, WIDTH, bias=False),
                }
            )
            for _ in range(8)
        ]
        self.input_blocks = torch.nn.ModuleList(blocks)
        self.scale = torch.nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        for block in self.input_blocks:
            x = block["q"](x) + block["k"](x)
        return x * self.scale


@pytest.fixture
def loader(monkeypatch):
    """Modules with Forge's signatures, which load what they are given into a network."""

    def load_torch_file(ckpt, safe_load=False, device=None):
        return load_file(ckpt)

    def forge_loader(sd, additional_state_dicts=None):
        tensors = backend.load_torch_file(sd)
        own = {k.removeprefix(PREFIX): v for k, v in tensors.items()}
        made.append(Network())
        made[-1].load_state_dict({k: v.float() for k, v in own.items()})
        unet = SimpleNamespace(model=SimpleNamespace(diffusion_model=made[-1]))
        return SimpleNamespace(forge_objects=SimpleNamespace(unet=unet))

    made = []
    backend = SimpleNamespace(load_torch_file=load_torch_file)
    models = SimpleNamespace(forge_loader=forge_loader)
    monkeypatch.setitem(sys.modules, "backend.loader", backend)
    monkeypatch.setitem(sys.modules, "modules.sd_models", models)
    return SimpleNamespace(backend=backend, models=models, made=made)


@pytest.fixture
def files(tmp_path):
    """A function that writes a network's file in a format, and answers it with the weights."""

    def write(name, added=(), high=()):
        torch.manual_seed(0)
        tensors, weights = {f"{PREFIX}scale": torch.ones(WIDTH)}, {}
        for layer in (*NAMES, *added):
            weight = torch.randn(WIDTH * (1 + (layer in high)), WIDTH) / WIDTH**0.5
            stored = {"weight": weight.half()} if name == "fp16" else find(name).quantize(weight)
            weights[layer] = (stored, find(name).dequantize(stored, torch.float32))
            tensors |= {f"{PREFIX}{layer}.{suffix}": t for suffix, t in stored.items()}
            if layer.endswith("q"):
                tensors[f"{PREFIX}{layer}.bias"] = torch.randn(WIDTH)
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path)
        return str(path), weights

    return write


@pytest.mark.parametrize("name", ["fp8_w", "fp8", "int8", "int8_w8a8", "nf4"])
def test_a_file_of_ours_is_stored_and_computes_as_it_says(loader, files, name):
    if name == "nf4":
        pytest.importorskip("bitsandbytes")
    quantized.install()
    path, weights = files(name)
    loader.models.forge_loader(path)
    (network,) = loader.made
    plain = Network()
    plain.scale = network.scale
    for layer, (_, weight) in weights.items():
        module, own = plain.get_submodule(layer), network.get_submodule(layer)
        module.weight = torch.nn.Parameter(weight.reshape(WIDTH, WIDTH))
        if own.bias is not None:
            module.bias = own.bias
    x = torch.randn(3, WIDTH)
    torch.testing.assert_close(network(x), plain(x), rtol=0, atol=0)
    held = sum(parameter.nbytes for parameter in network.get_submodule(NAMES[0]).parameters())
    told = sum(t.nbytes for suffix, t in weights[NAMES[0]][0].items() if suffix != "comfy_quant")
    assert held == told + 4 * WIDTH
    assert getattr(network, quantized.FORMAT) == find(find(name).weight_only or name).name


def test_other_files_are_left_alone(loader, files):
    quantized.install()
    path, _ = files("fp16")
    loader.models.forge_loader(path)
    (network,) = loader.made
    assert not hasattr(network, quantized.FORMAT)
    assert all(type(network.get_submodule(name)) is torch.nn.Linear for name in NAMES)


def test_it_is_put_in_once_and_after_a_file_of_ours_the_next_is_itself(loader, files):
    original = loader.models.forge_loader
    quantized.install()
    once = loader.models.forge_loader
    quantized.install()
    assert loader.models.forge_loader is once is not original
    for name in ("int8", "fp16"):
        once(files(name)[0])
    assert [hasattr(network, quantized.FORMAT) for network in loader.made] == [True, False]


def test_a_branch_without_such_a_loader_is_left_alone(loader):
    del loader.backend.load_torch_file
    original = loader.models.forge_loader
    quantized.install()
    assert loader.models.forge_loader is original


def test_a_layer_that_forge_does_not_build_is_named(loader, files, monkeypatch):
    quantized.install()
    monkeypatch.setattr(Network, "load_state_dict", lambda self, tensors: None)
    path, _ = files("int8", added=("input_blocks.9.q",))
    with pytest.raises(FileError, match=r"no layer input_blocks\.9\.q"):
        loader.models.forge_loader(path)
    path, _ = files("int8", high=("input_blocks.3.q",))
    with pytest.raises(FileError, match=r"input_blocks\.3\.q is no linear layer of \[128, 64\]"):
        loader.models.forge_loader(path)
