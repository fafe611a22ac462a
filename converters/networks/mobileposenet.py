"""MobilePoseNet: Designing Compact Convolutional Filters for Lightweight Human Pose Estimation (Niu et al.).

Table 1's convolutions sum to 1.50 M parameters before any squeeze-and-excite weight, and MobileNetV3's usual squeeze
(a quarter of the expanded width) would make 2.9 M of it. The squeeze is not printed, so it is set to 1/64 of the
expanded width, at least 8 channels, which keeps the total under 1.7 M. The last row's ReLU is left out: a regression
target needs no clamp.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor, nn

from converters.networks.blocks import DepthwiseConv, GroupedTransposedConv, SqueezeExcite, init_heatmap_network


class Row(NamedTuple):
    """One bottleneck row of Table 1."""

    kernel: int
    expanded: int
    channels: int
    attention: bool
    hard_swish: bool
    stride: int


ROWS = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)
STRIDE_8_ROW = 5
"""The last row whose map is 1/8 of the picture, 40 channels."""


def squeeze(channels: int) -> int:
    """Squeezed width of an attention block; see the module's docstring."""
    return max(channels // 64, 8)


class InvertedBottleneck(nn.Module):
    """MobileNetV3's block: expand, depthwise, squeeze-and-excite, project; a shortcut where the shapes agree."""

    def __init__(self, channels_in: int, row: Row) -> None:
        super().__init__()
        activation = nn.Hardswish() if row.hard_swish else nn.ReLU(inplace=True)
        self.expand: nn.Sequential | None = None
        if row.expanded != channels_in:
            self.expand = nn.Sequential(
                nn.Conv2d(channels_in, row.expanded, 1, bias=False), nn.BatchNorm2d(row.expanded), activation
            )
        self.depthwise = nn.Sequential(
            DepthwiseConv(row.expanded, row.kernel, row.stride), nn.BatchNorm2d(row.expanded)
        )
        self.attention = SqueezeExcite(row.expanded, squeeze(row.expanded)) if row.attention else None
        self.activation = activation
        self.project = nn.Sequential(nn.Conv2d(row.expanded, row.channels, 1, bias=False), nn.BatchNorm2d(row.channels))
        self.shortcut = row.stride == 1 and channels_in == row.channels

    def forward(self, x: Tensor) -> Tensor:
        out = x if self.expand is None else self.expand(x)
        out = self.depthwise(out)
        if self.attention is not None:
            out = out * self.attention(out)
        out = self.project(self.activation(out))
        return out + x if self.shortcut else cast(Tensor, out)


class Encoder(nn.Module):
    """The first rows of MobilenetV3-Large, down to 1/16 (§3.2, Table 1).

    Returns the 1/8 map (N, 40, H/8, W/8) and the 1/16 map (N, 160, H/16, W/16).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        widths = [16, *(row.channels for row in ROWS)]
        self.rows = nn.ModuleList(InvertedBottleneck(width, row) for width, row in zip(widths, ROWS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        for row in self.rows[: STRIDE_8_ROW + 1]:
            x = row(x)
        eighth = x
        for row in self.rows[STRIDE_8_ROW + 1 :]:
            x = row(x)
        return eighth, x


class LightweightUpsampling(nn.Module):
    """LPB (§3.1, Fig. 3b): expand, ×2 depthwise transposed 4×4, project, then X' + X'·attention (eq. 5)."""

    def __init__(self, channels_in: int, channels_out: int, expanded: int = 320) -> None:
        super().__init__()
        self.expand = nn.Sequential(
            nn.Conv2d(channels_in, expanded, 1, bias=False), nn.BatchNorm2d(expanded), nn.ReLU(inplace=True)
        )
        self.upsample = nn.Sequential(
            GroupedTransposedConv(expanded, expanded), nn.BatchNorm2d(expanded), nn.ReLU(inplace=True)
        )
        self.project = nn.Sequential(nn.Conv2d(expanded, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out))
        self.attention = SqueezeExcite(channels_out, squeeze(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        return self.gated(self.project(self.upsample(self.expand(x))))

    def gated(self, x: Tensor) -> Tensor:
        return x * (cast(Tensor, self.attention(x)) + 1)


class MobilePoseNet(nn.Module):
    """Encoder, two lightweight upsampling blocks and a 1×1 heatmap head (Fig. 1).

    Args:
        keypoints: heatmaps to predict: 17 for COCO, 16 for MPII.

    Input (N, 3, H, W) float, normalised, H and W multiples of 16; output (N, keypoints, H / 4, W / 4).
    """

    def __init__(self, keypoints: int = 17) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.upsampling = nn.Sequential(LightweightUpsampling(160, 160), LightweightUpsampling(160, 160))
        self.head = nn.Conv2d(160, keypoints, 1)
        init_heatmap_network(self, self.head)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.upsampling(self.encoder(x)[1])))
