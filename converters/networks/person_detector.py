"""An anchor-free person detector, so that the SDK needs nobody else's.

Centres as in CenterNet ("Objects as Points"): one heatmap of person centres at 1/8 of the picture, and at each centre
the person's size and the centre's sub-pixel offset. The backbone is EfficientNet-Lite0, which has ImageNet weights and
is made for integers; MobilePoseNet's lightweight upsampling brings its coarse maps back to 1/8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from converters.networks.blocks import DepthwiseConv, init_like_resnet
from converters.networks.efficientnet_lite import EfficientNetLite0, load_imagenet_weights
from converters.networks.mobileposenet import LightweightUpsampling


class PersonDetector(nn.Module):
    """Input (N, 3, H, W) float, normalised, H and W multiples of 32; output (N, 5, H/8, W/8) float.

    Channel 0 is the logit of a person's centre; 1 and 2 the logarithm of the person's width and height and 3 and 4 the
    centre's offset from the pixel, all four in map pixels.
    """

    def __init__(self, channels: int = 96) -> None:
        super().__init__()
        self.encoder = EfficientNetLite0()
        self.from_32 = LightweightUpsampling(192, channels, expanded=192)
        self.from_16 = LightweightUpsampling(channels, channels, expanded=192)
        self.lateral_16 = _project(112, channels)
        self.lateral_8 = _project(40, channels)
        self.mix = nn.Sequential(nn.ReLU(), *_separable(channels), *_separable(channels))
        self.head = nn.Conv2d(channels, 5, 1)
        init_like_resnet(self)
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        with torch.no_grad():
            # Centres are rare (prior 1 %), and an average person is about 12 map pixels wide and 24 high.
            self.head.bias.copy_(torch.tensor([-math.log(99.0), math.log(10.0), math.log(20.0), 0.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        eighth, sixteenth, thirty_second = self.encoder(x)
        x = self.lateral_16(sixteenth) + self.from_32(thirty_second)
        out: Tensor = self.head(self.mix(self.lateral_8(eighth) + self.from_16(torch.relu(x))))
        return out


def pretrained_person_detector() -> PersonDetector:
    """An untrained detector on ImageNet's backbone: where training starts."""
    network = PersonDetector()
    load_imagenet_weights(network.encoder)
    return network


def _project(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels))


def _separable(channels: int) -> list[nn.Module]:
    return [DepthwiseConv(channels, 5), nn.BatchNorm2d(channels), *_project(channels, channels), nn.ReLU()]
