"""Building blocks shared by several papers' networks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def init_like_resnet(network: nn.Module) -> None:
    """Kaiming-normal convolutions and unit BatchNorms.

    The papers print N(0, 0.001) for every convolution; under BatchNorm and Adam that only makes the first steps wild,
    so the usual fan-out initialisation is used instead.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def init_heatmap_network(network: nn.Module, head: nn.Conv2d) -> None:
    """:func:`init_like_resnet`, nearly flat heatmaps, and Global Context blocks that add nothing yet."""
    init_like_resnet(network)
    nn.init.normal_(head.weight, std=0.001)
    for module in network.modules():
        if isinstance(module, GlobalContext):
            module.start_as_identity()


def round_channels(channels: float) -> int:
    """The multiple of 8 nearest to ``channels``, at most a tenth below it (MobileNetV2's and EfficientNet's rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


class DepthwiseConv(nn.Conv2d):
    """Depthwise convolution, "same" padding for odd kernels.

    Args:
        channels: in and out.
        kernel: its side, odd.
        stride: 1 or 2.
        ahead: pixels less of padding before and more behind; TensorFlow's "same" has 1 with a stride of 2.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, ahead: int = 0) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        self.ahead, rim = ahead, kernel // 2
        self.pad = nn.ZeroPad2d((rim - ahead, rim, rim - ahead, rim)) if ahead else None

    def forward(self, x: Tensor) -> Tensor:
        if self.pad is None:
            return super().forward(x)
        return F.conv2d(self.pad(x), self.weight, stride=self.stride, groups=self.groups)


class GlobalContext(nn.Module):
    """Global Context block (LPN Fig. 2d, after GCNet): attention pooling, a bottleneck transform, added to every pixel.

    The pooling is written as a broadcast product and a sum, not as a matrix product over a flattened map: the same
    maths, no number of the batch in the graph, and no layout reorder on CPU runtimes.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 16, 16)
        self.conv_mask = nn.Conv2d(channels, 1, 1)
        self.channel_add_conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
        )

    def start_as_identity(self) -> None:
        """Zero the last convolution, so that an untrained block adds nothing."""
        last = self.channel_add_conv[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.conv_mask(x)
        mask = torch.softmax(logits.flatten(2), dim=2).view_as(logits)
        context = (x * mask).sum(dim=(2, 3), keepdim=True)
        return x + cast(Tensor, self.channel_add_conv(context))


class ContextBottleneck(nn.Module):
    """1×1, a spatial convolution, 1×1, then a Global Context block, beside a shortcut.

    Args:
        channels_in: of the block's input.
        spatial: the convolution in the middle, which says how wide it is there, and the stride.
        channels: of the block's output.
    """

    def __init__(self, channels_in: int, spatial: nn.Conv2d, channels: int) -> None:
        super().__init__()
        hidden = spatial.in_channels
        self.conv1 = nn.Conv2d(channels_in, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv2 = spatial
        self.bn2 = nn.BatchNorm2d(hidden)
        self.conv3 = nn.Conv2d(hidden, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.att = GlobalContext(channels)
        self.downsample: nn.Sequential | None = None
        if spatial.stride[0] != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, spatial.stride[0], bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        out = self.att(self.bn3(self.conv3(out)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(out + shortcut)


class GroupedTransposedConv(nn.ConvTranspose2d):
    """×2 transposed convolution, kernel 4, stride 2, padding 1, one output channel a group.

    Holds the parameters of ``nn.ConvTranspose2d`` but computes the equal sum as a depthwise 3×3 convolution with four
    phase kernels a channel, followed by a pixel shuffle. Output row ``2m`` sees inputs ``m-1, m`` through kernel rows
    ``3, 1``; row ``2m + 1`` sees ``m, m+1`` through ``2, 0``; columns likewise. Unlike a grouped transposed convolution
    this form is fast on CPUs, quantizes per channel, and exists in TFLite.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        if channels_in % channels_out:
            raise ValueError(f"channels_in ({channels_in}) must be a multiple of channels_out ({channels_out})")
        super().__init__(channels_in, channels_out, 4, stride=2, padding=1, groups=channels_out, bias=False)

    def phase_kernels(self) -> Tensor:
        """(4 · channels_in, 1, 3, 3): an input channel's kernels of output phases (0,0), (0,1), (1,0), (1,1)."""
        padded = F.pad(self.weight[:, 0], (0, 1, 0, 1))  # index 4 is a zero row and column
        taps = torch.tensor([[3, 1, 4], [4, 2, 0]], device=padded.device)
        return padded[:, taps[:, None, :, None], taps[None, :, None, :]].flatten(0, 2).unsqueeze(1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        phases = F.conv2d(x.repeat_interleave(4, dim=1), self.phase_kernels(), padding=1, groups=4 * self.in_channels)
        if self.in_channels != self.out_channels:
            shared = self.in_channels // self.out_channels
            phases = torch.unflatten(phases, 1, (self.out_channels, shared, 4)).sum(dim=2).flatten(1, 2)
        return F.pixel_shuffle(phases, 2)


def grouped_upsample(channels_in: int, channels_out: int) -> list[nn.Module]:
    """LPN's lightweight upsampling (§3.2): ×2 grouped 4×4 transposed convolution, then a 1×1 convolution."""
    return [
        GroupedTransposedConv(channels_in, channels_out),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]


class SqueezeExcite(nn.Module):
    """Channel gates from the global average: 1×1 down, ReLU, 1×1 up, a gate (MobileNetV3's hard sigmoid by default)."""

    def __init__(self, channels: int, squeezed: int, gate: Callable[[Tensor], Tensor] = F.hardsigmoid) -> None:
        super().__init__()
        self.gate = gate
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to gates (N, C, 1, 1); the caller multiplies."""
        return self.gate(self.expand(torch.relu(self.reduce(self.pooled(x)))))

    def pooled(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)


class HighResolutionModule(nn.Module):
    """HRNet's exchange unit (ELPN §3.1, Fig. 3): parallel branches, then every resolution summed into every other.

    Args:
        channels: a width a branch, finest first; branch ``i`` runs at 1 / 2^i of the first one's resolution.
        block: makes one residual block of the given width; a branch has two.
        outputs: how many resolutions to produce, finest first; all of them by default.

    A list of maps in, a list of maps out. Parameter names are those of the official HRNet.
    """

    def __init__(self, channels: Sequence[int], block: Callable[[int], nn.Module], outputs: int | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(block(width), block(width)) for width in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels) if outputs is None else outputs)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [torch.relu(self._fuse(layers, maps)) for layers in self.fuse_layers]

    @staticmethod
    def _fuse(layers: nn.Module, maps: list[Tensor]) -> Tensor:
        assert isinstance(layers, nn.ModuleList)
        resized: list[Tensor] = [layer(x) for layer, x in zip(layers, maps, strict=True)]
        return functools.reduce(torch.Tensor.add, resized)


def high_resolution_stage(
    channels: Sequence[int], block: Callable[[int], nn.Module], modules: int, last_outputs: int | None = None
) -> nn.Sequential:
    """Exchange units in a row; the last may produce fewer resolutions, ``last_outputs``."""
    outputs = [None] * (modules - 1) + [last_outputs]
    return nn.Sequential(*(HighResolutionModule(channels, block, outputs=number) for number in outputs))


def _exchange(channels: Sequence[int], source: int, target: int) -> nn.Module:
    """Bring branch ``source`` to the width and resolution of ``target``: up by 1×1 and nearest, down by strided 3×3."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(channels[source], channels[target], 1, bias=False),
            nn.BatchNorm2d(channels[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    steps = []
    for step in range(source + 1, target + 1):
        width = channels[target] if step == target else channels[source]
        layers = [nn.Conv2d(channels[source], width, 3, 2, 1, bias=False), nn.BatchNorm2d(width)]
        steps.append(nn.Sequential(*layers, *([] if step == target else [nn.ReLU(inplace=True)])))
    return nn.Sequential(*steps)
