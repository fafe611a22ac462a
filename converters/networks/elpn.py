"""ELPN: Lightweight and Effective Human Pose Estimation Model Based on Multi-Angle Knowledge Distillation (Li).

HRNet with its stem, bottleneck, transition and exchange widths kept. The paper leaves open, and here is chosen: the
separable convolutions of Fig. 4d are MobileNet's (depthwise, BatchNorm, ReLU, 1×1, BatchNorm); exchanges and
transitions stay ordinary convolutions, the last unit produces only the finest resolution, and one Global Context block
refines it. With these both versions meet every printed figure: 1.11 M and 1.21 G, 4.71 M and 1.99 G at 256×192, and
V1's 1.62 G at 256×256 (Table 6), G being 2^30 as in LPN.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from converters.networks.blocks import (
    ContextBottleneck,
    DepthwiseConv,
    GlobalContext,
    high_resolution_stage,
    init_heatmap_network,
)


class Version(NamedTuple):
    """Channels of the finest branch, and exchange units of stages 2, 3 and 4 (§3.2)."""

    width: int
    units: tuple[int, int, int]


VERSIONS = {1: Version(16, (1, 2, 2)), 2: Version(32, (1, 4, 3))}


class EfficientBottleneck(ContextBottleneck):
    """ResNet's bottleneck with a Global Context block after its last convolution (§3.2, Fig. 4b)."""

    def __init__(self, channels_in: int, hidden: int, channels: int) -> None:
        super().__init__(channels_in, nn.Conv2d(hidden, hidden, 3, padding=1, bias=False), channels)


class LightweightBasicBlock(nn.Module):
    """ResNet's basic block made of separable convolutions (§3.2, Fig. 4d)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _separable(channels)
        self.conv2 = _separable(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2(torch.relu(self.conv1(x))) + x)


class ELPN(nn.Module):
    """Effective and Lightweight Pose Network (§3.2, Fig. 5).

    Args:
        version: 1 for ELPN-V1, 2 for ELPN-V2.
        keypoints: heatmaps to predict: 17 for COCO, 16 for MPII.

    Input (N, 3, H, W) float, normalised, H and W multiples of 32; output (N, keypoints, H / 4, W / 4).
    """

    def __init__(self, version: int = 1, keypoints: int = 17) -> None:
        super().__init__()
        width, units = VERSIONS[version]
        widths = [width * 2**branch for branch in range(4)]
        self.stem = nn.Sequential(_conv(3, 64, 2), _conv(64, 64, 2))
        first = EfficientBottleneck(64, 64, 256)
        self.layer1 = nn.Sequential(first, *(EfficientBottleneck(256, 64, 256) for _ in range(3)))
        self.transition1 = nn.ModuleList([_conv(256, widths[0], 1), _conv(256, widths[1], 2)])
        self.stage2 = high_resolution_stage(widths[:2], LightweightBasicBlock, units[0])
        self.transition2 = _conv(widths[1], widths[2], 2)
        self.stage3 = high_resolution_stage(widths[:3], LightweightBasicBlock, units[1])
        self.transition3 = _conv(widths[2], widths[3], 2)
        self.stage4 = high_resolution_stage(widths, LightweightBasicBlock, units[2], last_outputs=1)
        self.att = GlobalContext(width)
        self.final_layer = nn.Conv2d(width, keypoints, 1)
        init_heatmap_network(self, self.final_layer)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.stem(x))
        maps = self.stage2([transition(x) for transition in self.transition1])
        maps = self.stage3([*maps, self.transition2(maps[-1])])
        maps = self.stage4([*maps, self.transition3(maps[-1])])
        return cast(Tensor, self.final_layer(self.att(maps[0])))


def _conv(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        DepthwiseConv(channels, 3),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    )
