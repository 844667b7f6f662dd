"""LPIPS and DISTS agree with torchmetrics of the same random weights; files are named and safe."""

import hashlib
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from wattbench.quality.base import UnmeasuredError
from wattbench.quality.dists import Dists, load_dists
from wattbench.quality.lpips import Lpips, load_lpips

WITHIN = 1e-6


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def features(network):
    """Convolutions of one of torchvision's networks by their published names, in fp64."""
    with torch.device("meta"):
        empty = getattr(torchvision.models, network)(weights=None).features
    made = empty.to_empty(device="cpu").double()
    for layer in made:
        if hasattr(layer, "weight"):
            torch.nn.init.kaiming_normal_(layer.weight)
            torch.nn.init.normal_(layer.bias, std=0.1)
    return made


def state_of(layers):
    return {f"features.{name}": value for name, value in layers.state_dict().items()}


def as_batch(picture):
    return torch.from_numpy(picture).movedim(-1, 0)[None]


@pytest.fixture
def pair(cat, with_noise):
    small = cat[:96, :128]
    return small / 255, with_noise(small) / 255


def lpips_of(net):
    from torchmetrics.functional.image import lpips as their_lpips

    layers = features({"alex": "alexnet", "vgg": "vgg16"}[net])
    theirs = their_lpips._LPIPS(net=net, pnet_rand=True, pretrained=True).double()
    own = {name.split(".", 1)[1]: name for name in theirs.net.state_dict()}
    theirs.net.load_state_dict({own[name]: v for name, v in layers.state_dict().items()})
    linear = {n: v for n, v in theirs.state_dict().items() if n[:3] == "lin" and n[3] != "s"}
    return theirs, {**state_of(layers), **linear}


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips(net, pair):
    theirs, weights = lpips_of(net)
    first, second = (as_batch(picture) * 2 - 1 for picture in pair)
    with torch.no_grad():
        expected = float(theirs(first, second))
    assert expected > 1e-3
    assert Lpips(weights)(*pair) == pytest.approx(expected, WITHIN)


def test_dists(pair, monkeypatch):
    from torchmetrics.functional.image import dists as their_dists

    layers = features("vgg16")
    monkeypatch.setattr(their_dists, "vgg16", lambda weights: SimpleNamespace(features=layers))
    theirs = their_dists.DISTSNetwork().double()
    weights = {**state_of(layers), "alpha": theirs.alpha.data, "beta": theirs.beta.data}
    with torch.no_grad():
        expected = float(theirs(*map(as_batch, pair)))
    assert expected > 1e-3
    assert Dists(weights)(*pair) == pytest.approx(expected, WITHIN)


def test_equal_pictures_are_at_no_distance(pair):
    _, weights = lpips_of("alex")
    assert Lpips(weights)(pair[0], pair[0]) == 0
    vgg = {**state_of(features("vgg16")), "alpha": torch.ones(1475), "beta": torch.ones(1475)}
    vgg = {name: value.double() for name, value in vgg.items()}
    assert Dists(vgg)(pair[0], pair[0]) == pytest.approx(0, abs=1e-6)


@pytest.fixture
def folder(tmp_path):
    """Weights as they are published: the backbone in one file, the linear layers in another."""
    _, weights = lpips_of("alex")
    backbone = {n: v.float().contiguous() for n, v in weights.items() if n.startswith("features")}
    linear = {n: v.float() for n, v in weights.items() if n.startswith("lin")}
    save_file(backbone, tmp_path / "alexnet.safetensors")
    torch.save(linear, tmp_path / "alex.pth")
    return tmp_path


def test_files_are_read_and_named_with_their_hash(folder, pair):
    network = load_lpips(folder)
    hashes = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    assert network.name == " + ".join(f"{n} sha256 {hashes[n]}" for n in sorted(hashes))
    assert network.value(*pair) > 0


def test_what_is_missing_is_named(folder, tmp_path_factory):
    (folder / "alex.pth").unlink()
    with pytest.raises(ValueError, match=r"LPIPS needs.*missing: lin0\.model\.1\.weight"):
        load_lpips(folder)
    with pytest.raises(ValueError, match="DISTS needs"):
        load_dists(folder)
    with pytest.raises(ValueError, match="holds no file of weights"):
        load_lpips(tmp_path_factory.mktemp("empty"))


class Planted:
    def __reduce__(self):
        return (print, ("this code ran",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("alex.pth", pickle.dumps(Planted()), "more than weights"),
        ("alex.pth", b"no archive", "alex.pth"),
        ("alexnet.safetensors", b"\xff" * 64, "damaged"),
    ],
)
def test_a_file_that_is_none_of_weights_is_refused(folder, capfd, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_lpips(folder)
    assert "this code ran" not in capfd.readouterr().out


def test_small_pictures_have_no_distance(pair):
    _, weights = lpips_of("alex")
    distance = Lpips(weights)
    distance(np.zeros((64, 64, 3)), np.zeros((64, 64, 3)))
    with pytest.raises(UnmeasuredError, match="64 points"):
        distance(np.zeros((63, 64, 3)), np.zeros((63, 64, 3)))
    vgg = {**state_of(features("vgg16")), "alpha": torch.ones(1475), "beta": torch.ones(1475)}
    distance = Dists(vgg)
    distance(np.zeros((32, 32, 3)), np.zeros((32, 32, 3)))
    with pytest.raises(UnmeasuredError, match="32 points"):
        distance(np.zeros((32, 31, 3)), np.zeros((32, 31, 3)))
