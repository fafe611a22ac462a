"""Public weights of the detector are read from the graph they come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tfjs_graphs import BREAKS, break_graph, write_graph
from torch import nn

from converters.checkpoints import CheckpointError
from converters.nanodet_weights import CLASSES, _in_their_order, load_nanodet
from converters.networks.person_detector import PersonDetector
from converters.training.loop import MEAN, STD, Normalised


def published(network: PersonDetector, folder: Path) -> Path:
    """A network for all classes, of which this one is the first, as a TensorFlow.js graph."""
    tensors: dict[str, np.ndarray] = {}
    nodes: list[dict[str, Any]] = []
    layers = [layer for layer in _in_their_order(network) if isinstance(layer, nn.Conv2d)]
    for number, layer in reversed(list(enumerate(layers))):  # in the order of their numbers, not in the file's
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()  # type: ignore[union-attr]
        if layer in network.heads:
            others = np.ones((CLASSES - 1, *weight.shape[1:]), np.float32)
            weight = np.concatenate([weight[:1], others, weight[1:]])
            bias = np.concatenate([bias[:1], np.ones(CLASSES - 1, np.float32), bias[1:]])
        name = "convolution" if number == 0 else f"convolution_{number}"
        kernel, added = f"split_{number}", f"unknown_{number}"
        tensors |= {kernel: weight.transpose(2, 3, 1, 0), added: bias}
        nodes.append({"op": "Conv2D", "name": name, "input": [f"transpose_{number}", kernel]})
        nodes.append({"op": "Add", "name": f"Add_{number}", "input": [name, added]})
    return write_graph(tensors, nodes, folder / "nanodet.bin")


def test_weights_and_normalisation_are_the_graphs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = PersonDetector()
    for parameter in theirs.parameters():
        parameter.data = parameter.data.half().float()
    ours = load_nanodet(PersonDetector(), published(theirs, tmp_path))
    assert isinstance(ours, PersonDetector) and not ours.training
    for (name, wanted), got in zip(theirs.state_dict().items(), ours.state_dict().values(), strict=True):
        assert name.startswith("stem.") or torch.equal(got, wanted), name
    pictures = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)  # BGR
    mean, std = (torch.tensor(values[::-1]).view(1, 3, 1, 1) * 255 for values in (MEAN, STD))
    with torch.no_grad():
        expected, got = theirs.stem((pictures - mean) / std), Normalised(ours.stem)(pictures)
    torch.testing.assert_close(got[..., 1:, 1:], expected[..., 1:, 1:], atol=1e-5, rtol=1e-5)  # the padding differs


@pytest.mark.parametrize("broken", BREAKS)
def test_files_that_are_something_else_are_refused(tmp_path: Path, broken: str) -> None:
    path = published(PersonDetector(), tmp_path)
    break_graph(path, broken)
    with pytest.raises(CheckpointError, match="not NanoDet-g"):
        load_nanodet(PersonDetector(), path)
