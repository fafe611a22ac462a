"""Channels of like range, so that the one scale a tensor has in TFLite's INT8 suits all of them.

A leaky ReLU passes a positive factor through: what a convolution's output channel is divided by, the convolutions that
read it multiply back. So the network stays the same (Nagel et al.: Data-Free Quantization through Weight Equalization
and Bias Correction, 2019, §4.1); here the ranges are those of real activations.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from converters.networks.person_detector import PersonDetector, Stage

STRENGTH = 0.5
"""0 leaves activations as they are, 1 makes all ranges one; in between, weights keep some evenness too."""
Reader = tuple[nn.Conv2d, int]
"""A convolution, and the first of its input channels that hold what it reads."""


def equalised(network: PersonDetector, pictures: Tensor) -> PersonDetector:
    """A copy of the detector that computes the same with more even ranges.

    Args:
        network: the detector.
        pictures: (N, 3, H, W) float, normalised: what the ranges are measured on.
    """
    network = copy.deepcopy(network).eval()
    peaks: dict[nn.Module, Tensor] = {}

    def note(unit: nn.Module, _: object, output: Tensor) -> None:
        highest = output.abs().amax(dim=(0, 2, 3))
        peaks[unit] = torch.maximum(peaks.get(unit, highest), highest)

    chain = list(_chain(network))
    hooks = [unit.register_forward_hook(note) for unit, _ in chain]
    with torch.no_grad():
        for picture in pictures:
            network(picture[None])
        for hook in hooks:
            hook.remove()
        for unit, readers in chain:
            _even(cast(nn.Conv2d, unit[0]), readers, peaks[unit].clamp_min(1e-3))
    return network


def _even(writer: nn.Conv2d, readers: list[Reader], peaks: Tensor) -> None:
    factors = (peaks / peaks.max()) ** STRENGTH
    writer.weight /= factors.view(-1, 1, 1, 1)
    if writer.bias is not None:
        writer.bias /= factors
    for reader, start in readers:
        reader.weight[:, start : start + len(factors)] *= factors.view(1, -1, 1, 1)


def _chain(network: PersonDetector) -> Iterator[tuple[nn.Sequential, list[Reader]]]:
    """Every convolution with its leaky ReLU, and who reads it."""
    stages = [cast(Stage, stage) for stage in network.stages]
    yield network.stem, [(_conv(stages[0].first), 0)]
    for number, stage in enumerate(stages):
        after = [_conv(later.first) for later in stages[number + 1 : number + 2]]
        after += [cast(nn.Conv2d, network.laterals[number - 1])] if number else []
        steps = [*(_conv(narrow) for narrow in stage.narrow[1:]), _conv(stage.last)]
        width = _conv(stage.first).out_channels
        yield stage.first, [(_conv(stage.narrow[0]), 0), *((reader, width) for reader in after)]
        for narrow, inner, step in zip(stage.narrow, stage.inner, steps):
            yield cast(nn.Sequential, narrow), [(_conv(inner), 0), (step, width // 2)]
            yield cast(nn.Sequential, inner), [(step, 0)]
        yield stage.last, [(reader, 0) for reader in after]
    for tower, head in zip(network.towers, network.heads):
        yield cast(nn.Sequential, tower), [(cast(nn.Conv2d, head), 0)]


def _conv(unit: nn.Module) -> nn.Conv2d:
    return cast(nn.Conv2d, cast(nn.Sequential, unit)[0])
