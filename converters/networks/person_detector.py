"""An anchor-free person detector from MobilePoseNet's blocks, so that the SDK needs nobody else's detector.

Centres as in CenterNet ("Objects as Points"): one heatmap of person centres at 1/8 of the picture, and at each centre
the person's size and the centre's sub-pixel offset.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from converters.networks.blocks import DepthwiseConv, init_like_resnet
from converters.networks.mobileposenet import Encoder, LightweightUpsampling


class PersonDetector(nn.Module):
    """Input (N, 3, H, W) float, normalised, H and W multiples of 16; output (N, 5, H/8, W/8) float.

    Channel 0 is the logit of a person's centre; 1 and 2 the logarithm of the person's width and height and 3 and 4 the
    centre's offset from the pixel, all four in map pixels.
    """

    def __init__(self, channels: int = 96) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.upsampling = LightweightUpsampling(160, channels)
        self.lateral = nn.Sequential(nn.Conv2d(40, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.mix = nn.Sequential(
            nn.ReLU(),
            DepthwiseConv(channels, 5),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            DepthwiseConv(channels, 5),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(channels, 5, 1)
        init_like_resnet(self)
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        with torch.no_grad():
            # Centres are rare (prior 1 %), and an average person is about 12 map pixels wide and 24 high.
            self.head.bias.copy_(torch.tensor([-math.log(99.0), math.log(10.0), math.log(20.0), 0.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        eighth, sixteenth = self.encoder(x)
        out: Tensor = self.head(self.mix(self.lateral(eighth) + self.upsampling(sixteenth)))
        return out
