"""Building blocks shared by several papers' networks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight


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


class DepthwiseConv(nn.Conv2d):
    """Depthwise convolution, "same" padding for odd kernels.

    While training, a stride of 2 is computed at stride 1 and every other pixel kept: the same numbers, and six times
    faster, because oneDNN has no fast bf16 backward for strided depthwise convolutions.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        if self.kernel_size[0] == 5 and x.dtype == torch.bfloat16:
            out = cast(Tensor, _Depthwise5.apply(x, self.weight.to(x.dtype)))  # type: ignore[no-untyped-call]
        else:
            out = F.conv2d(x, self.weight, padding=self.padding, groups=self.groups)
        step = self.stride[0]
        return out if step == 1 else out[:, :, ::step, ::step]


class _Depthwise5(torch.autograd.Function):
    """Depthwise 5×5 whose weight gradient is put together from those of four 3×3 convolutions, each over a corner.

    The same sums: oneDNN has a fast bf16 weight gradient for 3×3 only.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        channels, (height, width) = len(weight), x.shape[2:]
        for_x = conv2d_input(list(x.shape), weight, gradient, padding=2, groups=channels)  # type: ignore[no-untyped-call]
        padded, for_weight, corner = F.pad(x, (2, 2, 2, 2)), torch.empty_like(weight), [channels, 1, 3, 3]
        for top in (0, 2):
            for left in (0, 2):
                seen = padded[:, :, top : top + height + 2, left : left + width + 2]
                seen = seen.contiguous(memory_format=torch.channels_last)
                for_weight[:, :, top : top + 3, left : left + 3] = conv2d_weight(  # type: ignore[no-untyped-call]
                    seen, corner, gradient, groups=channels
                )
        return for_x, for_weight


class GlobalContext(nn.Module):
    """Global Context block (LPN Fig. 2d, after GCNet): attention pooling, a bottleneck transform, added to every pixel.

    The pooling is written as a broadcast product and a sum, not as a matrix product over a flattened map: the same
    maths, no number of the batch in the graph, and no layout reorder on CPU runtimes.
    """

    def __init__(self, channels: int, reduction: int = 16, minimum: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, minimum)
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
        if self.training:
            return self._woven(x)
        phases = F.conv2d(x.repeat_interleave(4, dim=1), self.phase_kernels(), padding=1, groups=4 * self.in_channels)
        if self.in_channels != self.out_channels:
            shared = self.in_channels // self.out_channels
            phases = torch.unflatten(phases, 1, (self.out_channels, shared, 4)).sum(dim=2).flatten(1, 2)
        return F.pixel_shuffle(phases, 2)

    def _woven(self, x: Tensor) -> Tensor:
        """The same sums as four convolutions over ``x`` itself: faster to train; exporters recognise the other form."""
        kernels = torch.unflatten(self.phase_kernels(), 0, (-1, 4)).transpose(0, 1)
        phases = [F.conv2d(x, kernel, padding=1, groups=self.in_channels) for kernel in kernels]
        if self.in_channels != self.out_channels:
            phases = [torch.unflatten(phase, 1, (self.out_channels, -1)).sum(dim=2) for phase in phases]
        return cast(Tensor, _Weave.apply(*phases))  # type: ignore[no-untyped-call]


class _Weave(torch.autograd.Function):
    """Maps of the output phases (0,0), (0,1), (1,0), (1,1), each (N, C, H, W), to one (N, C, 2H, 2W)."""

    @staticmethod
    def forward(ctx: Any, *phases: Tensor) -> Tensor:
        count, channels, height, width = phases[0].shape
        size = (count, channels, 2 * height, 2 * width)
        woven = torch.empty(size, dtype=phases[0].dtype, device=phases[0].device, memory_format=torch.channels_last)
        for n, phase in enumerate(phases):
            woven[:, :, n // 2 :: 2, n % 2 :: 2] = phase
        return woven

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        parts = (gradient[:, :, n // 2 :: 2, n % 2 :: 2] for n in range(4))
        return tuple(part.contiguous(memory_format=torch.channels_last) for part in parts)


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
        pooled = x.mean(dim=(2, 3), keepdim=True)
        return self.gate(self.expand(torch.relu(self.reduce(pooled))))


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
