"""SLBNet: Shallow and Lightweight Bilateral Network for Pose Estimation (Zhou, Sun, Yang, Zhang).

The figures print no channel width and no number of dual-resolution modules. 64 channels at 1/4, 128 at 1/8 and seven
modules, with PSPNet's quarter-width pyramid branches, give 3.58 M parameters and 4.60 GMACs at 256×192: the printed
3.65 M and 4.45 G within 5 %, be G 10^9 or 2^30; without attention and pyramid 3.43 M and 4.26 G, as in Table III's
experiment 4 (3.4 M, 4.3 G). Also left open, and here chosen: BatchNorm after every convolution but the last, a PReLU
slope a channel, bilinear upsampling, squeeze-and-excite by 16, and pyramid rates 1, 2, 4, 8, which unlike PSPNet's
1, 2, 3, 6 divide the heatmaps of all usual inputs, so that the pooling exports as plain average pooling.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.networks.blocks import SqueezeExcite, init_heatmap_network

FINE = 64
COARSE = 128
MODULES = 7


class BasicBlock(nn.Module):
    """ResNet's basic block with PReLU (Table III, experiment 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 3)
        self.conv2 = nn.Sequential(*_conv_norm(channels, channels, 3))
        self.activation = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.activation(self.conv2(self.conv1(x)) + x))


class DualResolution(nn.Module):
    """Two residual blocks in parallel, then each stem gated by the other (§III-B, Fig. 3).

    Fine to coarse: strided 3×3, BatchNorm, sigmoid, product. Coarse to fine: 1×1, BatchNorm, upsampling, sigmoid,
    product.
    """

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.fine = BasicBlock(fine)
        self.coarse = BasicBlock(coarse)
        self.to_coarse = nn.Sequential(*_conv_norm(fine, coarse, 3, stride=2))
        self.to_fine = nn.Sequential(*_conv_norm(coarse, fine, 1))

    def forward(self, maps: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        fine, coarse = self.fine(maps[0]), self.coarse(maps[1])
        fine_gate = torch.sigmoid(_upsample(self.to_fine(coarse), 2))
        coarse_gate = torch.sigmoid(self.to_coarse(fine))
        return fine * fine_gate, coarse * coarse_gate


class PyramidPooling(nn.Module):
    """PSPNet's pyramid pooling module (§III-C): the map, and its averages over four grids, side by side.

    (N, channels, H, W) to (N, 2·channels, H, W).
    """

    RATES = (1, 2, 4, 8)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(rate), _conv(channels, channels // len(self.RATES), 1))
            for rate in self.RATES
        )

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        pooled = [F.interpolate(branch(x), size, mode="bilinear", align_corners=False) for branch in self.branches]
        return torch.cat([x, *pooled], dim=1)


class SLBNet(nn.Module):
    """Shallow and Lightweight Bilateral Network (§III, Fig. 2): a trunk, two stems at 1/4 and 1/8, a decoder.

    Args:
        keypoints: heatmaps to predict: 17 for COCO, 16 for MPII.

    Input (N, 3, H, W) float, normalised, H and W multiples of 32; output (N, keypoints, H / 4, W / 4).
    """

    def __init__(self, keypoints: int = 17) -> None:
        super().__init__()
        both = FINE + COARSE
        self.trunk = nn.Sequential(_conv(3, FINE, 3, stride=2), _conv(FINE, FINE, 3, stride=2))
        self.split = _conv(FINE, COARSE, 3, stride=2)
        self.backbone = nn.Sequential(*(DualResolution(FINE, COARSE) for _ in range(MODULES)))
        self.attention = SqueezeExcite(both, both // 16, gate=torch.sigmoid)
        self.pyramid = PyramidPooling(both)
        self.decoder = nn.Sequential(_conv(2 * both, FINE, 3), _conv(FINE, FINE, 3))
        self.head = nn.Conv2d(FINE, keypoints, 1)
        init_heatmap_network(self, self.head)

    def forward(self, x: Tensor) -> Tensor:
        x = self.trunk(x)
        fine, coarse = self.backbone((x, self.split(x)))
        both = torch.cat((fine, _upsample(coarse, 2)), dim=1)
        both = both * self.attention(both)
        return cast(Tensor, self.head(self.decoder(self.pyramid(both))))


def _upsample(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _conv_norm(channels_in: int, channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(channels)]


def _conv(channels_in: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*_conv_norm(channels_in, channels, kernel, stride), nn.PReLU(channels))
