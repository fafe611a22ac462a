"""EfficientHRNet: Efficient and Scalable High-Resolution Networks for Real-Time Multi-Person 2D Human Pose Estimation
(Neff, Sheth, Furgurson, Middleton, Tabkhi).

Parameter names and shapes are those of the official release, so its checkpoints load as they are. Where the release and
the paper differ, the release is followed: branches are ``ceil(32·n·1.2455^φ)`` wide (eq. 5 prints 1.25), which with the
rest makes 19.73 M parameters of H0 (the tables print 23.3 M). Official weights read RGB pictures, ImageNet's mean and
standard deviation.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from converters.networks.blocks import DepthwiseConv, high_resolution_stage, init_like_resnet, round_channels


class Scale(NamedTuple):
    """One model of the family (§3.2, Table 1): EfficientNet's 1.1^φ and 1.2^φ as the release rounds them."""

    width: float
    depth: float
    modules: tuple[int, int, int]


SCALES = {
    0: Scale(1.0, 1.0, (1, 4, 3)),
    -1: Scale(0.909, 0.833, (1, 3, 3)),
    -2: Scale(0.826, 0.694, (1, 2, 3)),
    -3: Scale(0.751, 0.578, (1, 1, 3)),
    -4: Scale(0.684, 0.483, (1, 1, 2)),
}


class Row(NamedTuple):
    """One row of EfficientNet-B0's MBConv blocks; ``tapped`` rows end at 1/4, 1/8, 1/16 and 1/32 and feed a branch."""

    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int
    tapped: bool


ROWS = (
    Row(1, 16, 1, 1, 3, False),
    Row(6, 24, 2, 2, 3, True),
    Row(6, 40, 2, 2, 5, True),
    Row(6, 80, 3, 2, 3, False),
    Row(6, 112, 3, 1, 5, True),
    Row(6, 192, 4, 2, 5, False),
    Row(6, 320, 1, 1, 3, True),
)


def input_size(phi: int) -> int:
    """Side of the square input in pixels (eq. 6)."""
    return 512 + 32 * phi


def branch_widths(phi: int) -> list[int]:
    """Channels of the four branches, finest first (eq. 5, with the release's factor)."""
    return [math.ceil(32 * 2**branch * 1.2455**phi) for branch in range(4)]


class ConvNormSwish(nn.Sequential):
    """Padding, convolution, BatchNorm, swish.

    A strided convolution is padded with one pixel more right and below, as TensorFlow does: the stem by ``pad``, the
    others by :class:`DepthwiseConv` itself. The release pads in a layer of its own, whose place is kept for the names.
    """

    def __init__(self, conv: nn.Conv2d, pad: nn.Module | None = None) -> None:
        super().__init__(pad or nn.Identity(), conv, nn.BatchNorm2d(conv.out_channels), nn.SiLU(inplace=True))


class SwishSqueezeExcite(nn.Module):
    """EfficientNet's squeeze-and-excite: swish inside, sigmoid gates."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.SiLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * cast(Tensor, self.se(x))


class MBConv(nn.Module):
    """Inverted bottleneck of EfficientNet (§3.1.1): expand, depthwise, squeeze-and-excite, project.

    While training, the residual branch is dropped for one picture in five (drop connect), as in the release.
    """

    KEEP = 0.8

    def __init__(self, channels_in: int, channels: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        expand = [ConvNormSwish(nn.Conv2d(channels_in, hidden, 1, bias=False))] if expansion > 1 else []
        self.conv = nn.Sequential(
            *expand,
            ConvNormSwish(DepthwiseConv(hidden, kernel, stride, ahead=stride - 1)),
            SwishSqueezeExcite(hidden, channels_in // 4),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        out = cast(Tensor, self.conv(x))
        if not self.shortcut:
            return out
        if self.training:
            out = out / self.KEEP * (torch.rand_like(out[:, :1, :1, :1]) < self.KEEP)
        return x + out


class BasicBlock(nn.Module):
    """ResNet's basic block: two 3×3 convolutions and a shortcut.

    §3.1.2 speaks of three convolutions a residual block; the release has two.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + x)


class EfficientHRNet(nn.Module):
    """EfficientHRNet H0 … H-4 (§3.1, Fig. 2): a scaled EfficientNet, a high-resolution network, a heatmap head.

    Args:
        phi: 0, -1, -2, -3 or -4; ``input_size(phi)`` is the input the paper gives it.
        keypoints: heatmaps to predict: 17 for COCO, 16 for MPII.

    Input (N, 3, H, W) float, normalised, H and W multiples of 32. Output: (N, 2·keypoints, H / 4, W / 4), heatmaps then
    tags, and (N, keypoints, H / 2, W / 2) heatmaps.
    """

    def __init__(self, phi: int = 0, keypoints: int = 17) -> None:
        super().__init__()
        scale = SCALES[phi]
        widths = branch_widths(phi)
        self.features, self.taps, tapped_widths = _backbone(scale)

        self.trans1_branch1 = _transition(tapped_widths[0], widths[0])
        self.trans1_branch2 = _transition(tapped_widths[1], widths[1])
        self.stage2 = high_resolution_stage(widths[:2], BasicBlock, scale.modules[0])

        self.trans2_branch1 = _transition(widths[0], widths[0])
        self.trans2_branch2 = _transition(widths[1], widths[1])
        self.trans2_branch3 = _transition(tapped_widths[2], widths[2])
        self.stage3 = high_resolution_stage(widths[:3], BasicBlock, scale.modules[1])

        self.trans3_branch1 = _transition(widths[0], widths[0])
        self.trans3_branch2 = _transition(widths[1], widths[1])
        self.trans3_branch3 = _transition(widths[2], widths[2])
        self.trans3_branch4 = _transition(tapped_widths[3], widths[3])
        self.stage4 = high_resolution_stage(widths, BasicBlock, scale.modules[2], last_outputs=1)

        width = widths[0]
        self.final_layers = nn.ModuleList([nn.Conv2d(width, 2 * keypoints, 1), nn.Conv2d(width, keypoints, 1)])
        upsample = nn.Sequential(
            nn.ConvTranspose2d(width + 2 * keypoints, width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        refine = [nn.Sequential(BasicBlock(width)) for _ in range(2)]
        self.deconv_layers = nn.ModuleList([nn.Sequential(upsample, *refine)])
        self._init_weights()

    def _init_weights(self) -> None:
        init_like_resnet(self)
        for head in self.final_layers:
            assert isinstance(head, nn.Conv2d)
            nn.init.normal_(head.weight, std=0.001)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        finest = self.finest(x)
        coarse = self.final_layers[0](finest)
        fine = self.final_layers[1](self.deconv_layers[0](torch.cat((finest, coarse), dim=1)))
        return coarse, fine

    def finest(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the high-resolution network's finest map, (N, width, H / 4, W / 4)."""
        quarter, eighth, sixteenth, thirty_second = self._encode(x)
        maps = self.stage2([self.trans1_branch1(quarter), self.trans1_branch2(eighth)])
        maps = self.stage3([self.trans2_branch1(maps[0]), self.trans2_branch2(maps[1]), self.trans2_branch3(sixteenth)])
        maps = self.stage4(
            [
                self.trans3_branch1(maps[0]),
                self.trans3_branch2(maps[1]),
                self.trans3_branch3(maps[2]),
                self.trans3_branch4(thirty_second),
            ]
        )
        return cast(Tensor, maps[0])

    def _encode(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in self.taps:
                maps.append(x)
        return maps


def _backbone(scale: Scale) -> tuple[nn.Sequential, list[int], list[int]]:
    """The scaled EfficientNet's blocks, the indices of the tapped ones, and the widths there."""
    channels = round_channels(32 * scale.width)
    stem = nn.Conv2d(3, channels, 3, stride=2, bias=False)
    blocks: list[nn.Module] = [ConvNormSwish(stem, nn.ZeroPad2d((0, 1, 0, 1)))]
    taps, widths = [], []
    for row in ROWS:
        width = round_channels(row.channels * scale.width)
        for repeat in range(math.ceil(row.repeats * scale.depth)):
            blocks.append(MBConv(channels, width, row.expansion, row.kernel, row.stride if repeat == 0 else 1))
            channels = width
        if row.tapped:
            taps.append(len(blocks) - 1)
            widths.append(width)
    return nn.Sequential(*blocks), taps, widths


def _transition(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )
