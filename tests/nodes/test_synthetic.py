"""The node WattBenchSyntheticModel: its contract, and that it runs."""

from __future__ import annotations

import torch


def test_node_offers_every_architecture_and_returns_the_three_parts(comfyui):
    from wattbench.hosts.comfyui import synthetic
    from wattbench.hosts.comfyui.identity import identity_of
    from wattbench.nodes.synthetic import NODES, WattBenchSyntheticModel

    assert [WattBenchSyntheticModel] == NODES
    schema = WattBenchSyntheticModel.GET_SCHEMA()
    assert schema.node_id == "WattBenchSyntheticModel"
    assert [entry.id for entry in schema.inputs] == ["architecture", "size", "dtype", "seed"]
    assert schema.inputs[0].options == list(synthetic.ARCHITECTURES)
    assert all(entry.tooltip for entry in (*schema.inputs, *schema.outputs))
    assert [output.io_type for output in schema.outputs] == ["MODEL", "CLIP", "VAE"]
    with torch.inference_mode():
        model, clip, vae = WattBenchSyntheticModel.execute("sd15", "tiny", "auto", 0).args
        assert identity_of(model).weights == "synthetic"
        assert clip.tokenize("a cat")["l"]
        assert vae.decode(torch.zeros(1, 4, 8, 8)).shape == (1, 64, 64, 3)
