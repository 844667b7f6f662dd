"""Products are counted as often as they run, also where torch.compile leaves no Python to count."""

import pytest
import torch

from wattbench.quant.formats import find


class Network(torch.nn.Module):
    """Two quantized layers, each within a block; ``breaks`` splits the graph between them."""

    def __init__(self, linear, breaks):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(linear) for _ in range(2)])
        self.breaks = breaks

    def forward(self, x):
        x = self.blocks[0](x)
        if self.breaks:
            torch._dynamo.graph_break()
        return self.blocks[1](x)


class Block(torch.nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.linear = linear(32, 32, bias=False)

    def forward(self, x):
        return self.linear(x)


@pytest.fixture
def network(comfyui):
    """A function that answers a network in fp8_w and its ledger."""
    from wattbench.hosts.comfyui.quantized.layout import wrap
    from wattbench.hosts.comfyui.quantized.ledger import LinearLedger
    from wattbench.hosts.comfyui.quantized.operations import quantized_operations

    def network(breaks=False):
        ledger = LinearLedger()
        operations = quantized_operations(torch.float32, torch.device("cpu"), ledger)
        made = Network(operations.Linear, breaks)
        stored = find("fp8_w").quantize(torch.eye(32))
        weight = wrap(find("fp8_w"), stored, torch.float32)
        layer = {"weight": weight, "comfy_quant": stored["comfy_quant"]}
        names = [f"blocks.{i}.linear" for i in range(2)]
        made.load_state_dict({f"{n}.{key}": t for n in names for key, t in layer.items()})
        return made, ledger

    return network


def calls(ledger):
    return [(c.requested, c.executed, c.call_count) for c in ledger.read()]


@pytest.fixture(autouse=True)
def rows():
    """Input, in the inference mode in which ComfyUI samples."""
    with torch.inference_mode():
        yield torch.ones(2, 32)
    torch._dynamo.reset()


DEQUANTIZED = ("fp8_w", "dequantized (fp32)")


@pytest.mark.parametrize("breaks", [False, True])
def test_a_graph_counts_in_each_evaluation(network, rows, breaks):
    """A broken graph is traced in two attempts, of which the last is what runs."""
    model, ledger = network(breaks)
    compiled = torch.compile(model, backend="eager")
    for evaluation in (1, 2, 3):
        assert torch.equal(ledger.evaluate(compiled, rows), rows)
        assert calls(ledger) == [(*DEQUANTIZED, 2 * evaluation)]
    ledger.clear()
    ledger.evaluate(compiled, rows)
    assert calls(ledger) == [(*DEQUANTIZED, 2)]
    assert [c.layer for c in ledger.layer_calls()] == ["blocks.0.linear", "blocks.1.linear"]


def test_the_same_weights_without_a_graph_count_themselves(network, rows):
    model, ledger = network()
    ledger.evaluate(torch.compile(model, backend="eager"), rows)
    ledger.clear()
    ledger.evaluate(model, rows)
    assert calls(ledger) == [(*DEQUANTIZED, 2)]


def test_one_compiled_block_counts_beside_one_that_is_not(network, rows):
    model, ledger = network()
    model.blocks[0] = torch.compile(model.blocks[0], backend="eager")
    for evaluation in (1, 2):
        ledger.evaluate(model, rows)
        assert calls(ledger) == [(*DEQUANTIZED, 2 * evaluation)]


def test_a_graph_used_for_another_layer_is_said_to_be_unseen(network, rows, monkeypatch):
    model, ledger = network()
    monkeypatch.setattr(Block, "forward", torch.compile(Block.forward, backend="eager"))
    ledger.evaluate(model, rows)
    ledger.clear()
    ledger.evaluate(model, rows)
    assert calls(ledger) == [(*DEQUANTIZED, 1), ("fp8_w", "not seen", 1)]
    assert "traced for another layer" in ledger.read()[1].reason
