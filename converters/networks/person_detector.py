"""An anchor-free person detector, so that the SDK needs nobody else's.

NanoDet-g (RangiLyu's NanoDet, 2021), for people only: a cross-stage partial backbone (CSPNet, Wang et al. 2020), a path
aggregation without convolutions (PANet), and at 1/8, 1/16 and 1/32 of the picture a head that says of every cell how
well a person's box is seen from there, and how far away the box's sides are. A distance is the mean of a distribution
over 0 to 10 cells (Generalized Focal Loss, Li et al. 2020). It is all dense convolutions with leaky ReLUs, which
integers hardly harm.

Its public weights have their BatchNorms folded into the convolutions, so there are none here.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.networks.blocks import init_like_resnet
from mobilepose_sdk.decoding.distances import BINS, STRIDES

CHANNELS = 128


class PersonDetector(nn.Module):
    """Input (N, 3, H, W) float, normalised, H and W multiples of 32.

    Output: three maps (N, 1 + 4·11, H / stride, W / stride) of :data:`~mobilepose_sdk.decoding.distances.STRIDES`, see
    :func:`mobilepose_sdk.decoding.distances.decode_distances`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 32, stride=2)
        self.pool = EdgeMaxPool()
        self.stages = nn.ModuleList(
            [Stage(32, 32, 1, 1), Stage(64, 64, 2, 2), Stage(128, 128, 2, 2), Stage(256, 256, 2, 3)]
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in (128, 256, 512))
        self.towers = nn.ModuleList(_conv(CHANNELS, CHANNELS) for _ in STRIDES)
        self.heads = nn.ModuleList(nn.Conv2d(CHANNELS, 1 + 4 * BINS, 1) for _ in STRIDES)
        init_like_resnet(self)
        for head in self.heads:
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.normal_(head.weight, std=0.01)
            nn.init.constant_(head.bias[:1], -math.log(99.0))  # people are rare: a prior of 1 %

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.pool(self.stem(x))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        eighth, sixteenth, thirty_second = (lateral(x) for lateral, x in zip(self.laterals, maps[1:]))
        sixteenth = sixteenth + _doubled(thirty_second)
        eighth = eighth + _doubled(sixteenth)
        sixteenth = sixteenth + F.avg_pool2d(eighth, 2)
        thirty_second = thirty_second + F.avg_pool2d(sixteenth, 2)
        levels = (eighth, sixteenth, thirty_second)
        return tuple(head(tower(x)) for head, tower, x in zip(self.heads, self.towers, levels))


class Stage(nn.Module):
    """A cross-stage partial stage: (N, C, H, W) to (N, 2 · channels, H / stride, W / stride)."""

    def __init__(self, channels_in: int, channels: int, stride: int, units: int) -> None:
        super().__init__()
        self.first = _conv(channels_in, channels, stride)
        self.narrow = nn.ModuleList(_conv(channels, channels // 2) for _ in range(units))
        self.inner = nn.ModuleList(_conv(channels // 2, channels // 2) for _ in range(units))
        self.last = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.first(x)
        for narrow, inner in zip(self.narrow, self.inner):
            x = narrow(x)
            x = torch.cat([inner(x), x], dim=1)
        return torch.cat([self.last(x), first], dim=1)


class EdgeMaxPool(nn.Module):
    """The largest of 3×3 pixels, every second row and column; (N, C, H, W) with even H and W to half of both."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=2, padding=1)


def _conv(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels, 3, stride, 1), nn.LeakyReLU(0.1, inplace=True))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
