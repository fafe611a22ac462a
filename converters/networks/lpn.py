"""LPN: Simple and Lightweight Human Pose Estimation (Zhang, Tang, Wu).

Parameter names and shapes are those of the official release, so its checkpoints load as they are. Official weights read
BGR crops, with ImageNet's mean and standard deviation (listed in RGB order) applied to the channels as they come.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from converters.networks.blocks import ContextBottleneck, DepthwiseConv, grouped_upsample, init_heatmap_network

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class LightweightBottleneck(ContextBottleneck):
    """1×1, depthwise 3×3, 1×1, then a Global Context block, all at one width (LPN §3.1, Fig. 2c)."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__(channels_in, DepthwiseConv(channels, 3, stride), channels)


class LPN(nn.Module):
    """Lightweight Pose Network (LPN §3.2, Fig. 1): a stride-16 residual encoder and two grouped upsampling layers.

    Args:
        depth: 50, 101 or 152.
        keypoints: heatmaps to predict: 17 for COCO, 16 for MPII.

    Input (N, 3, H, W) float, normalised, H and W multiples of 16; output (N, keypoints, H / 4, W / 4).
    """

    def __init__(self, depth: int = 50, keypoints: int = 17) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        blocks = BLOCKS[depth]
        self.layer1 = _layer(64, 64, blocks[0], 1)
        self.layer2 = _layer(64, 128, blocks[1], 2)
        self.layer3 = _layer(128, 256, blocks[2], 2)
        self.layer4 = _layer(256, 512, blocks[3], 1)  # no stride: the paper keeps 1/16 and saves an upsampling layer
        self.deconv_layers = nn.Sequential(*grouped_upsample(512, 256), *grouped_upsample(256, 256))
        self.final_layer = nn.Conv2d(256, keypoints, 1)
        init_heatmap_network(self, self.final_layer)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return cast(Tensor, self.final_layer(self.deconv_layers(x)))


def _layer(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = LightweightBottleneck(channels_in, channels, stride)
    return nn.Sequential(first, *(LightweightBottleneck(channels, channels) for _ in range(blocks - 1)))
