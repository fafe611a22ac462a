"""Building blocks shared by several papers' networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def init_like_resnet(network: nn.Module) -> None:
    """Kaiming-normal convolutions and unit BatchNorms.

    The papers print N(0, 0.001) for every convolution; under BatchNorm and Adam that only makes the first steps wild, so
    the usual fan-out initialisation is used instead.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


class DepthwiseConv(nn.Conv2d):
    """Depthwise convolution, "same" padding for odd kernels.

    While training, a stride of 2 is computed at stride 1 and every other pixel kept: the same numbers, and six times
    faster, because oneDNN has no fast bf16 backward for strided depthwise convolutions.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 1 or not self.training:
            return super().forward(x)
        step = self.stride[0]
        return F.conv2d(x, self.weight, padding=self.padding, groups=self.groups)[:, :, ::step, ::step]


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
        return x + self.channel_add_conv(context)


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
        """(4 · channels_in, 1, 3, 3): for each input channel the kernels of output phases (0,0), (0,1), (1,0), (1,1)."""
        padded = F.pad(self.weight[:, 0], (0, 1, 0, 1))  # index 4 is a zero row and column
        taps = torch.tensor([[3, 1, 4], [4, 2, 0]], device=padded.device)
        return padded[:, taps[:, None, :, None], taps[None, :, None, :]].flatten(0, 2).unsqueeze(1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        phases = F.conv2d(x.repeat_interleave(4, dim=1), self.phase_kernels(), padding=1, groups=4 * self.in_channels)
        if self.in_channels != self.out_channels:
            shared = self.in_channels // self.out_channels
            phases = phases.unflatten(1, (self.out_channels, shared, 4)).sum(dim=2).flatten(1, 2)
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
