"""Layers in the form that TFLite runs well, each equal to the one it is made from."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.networks.blocks import GlobalContext, GroupedTransposedConv
from converters.networks.efficienthrnet import EfficientHRNet
from converters.networks.slbnet import PyramidPooling
from converters.onnx_nodes import channels_of, depth_to_space, l2_normalized, padded

HALF_A_STEP = 1 / 512
"""Of TFLite's integer softmax."""


class ZeroPadding(nn.Module):
    def __init__(self, padding: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return padded(x, self.padding)


class EdgePadding(nn.Module):
    """A copy of the first row and column before them: what padding with minus infinity is to a 3×3 maximum."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x[:, :, :1], x], dim=2)
        return torch.cat([x[:, :, :, :1], x], dim=3)


class PhaseUpsample(nn.Module):
    """A :class:`GroupedTransposedConv` with the BatchNorm and ReLU that follow it.

    The input is laid side by side four times, once a phase, and convolved depthwise. Where an output channel sums
    ``s`` inputs, these must be ``s`` blocks of channels, see :func:`~converters.channel_order.blocked`: input
    ``s · C + c`` goes to output ``c``.
    """

    def __init__(self, layer: GroupedTransposedConv, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.channels = channels = layer.out_channels
        self.shared = layer.in_channels // channels
        scale, shift = affine_of(norm)
        kernels = layer.phase_kernels().view(channels, self.shared, 4, 1, 3, 3) * scale.view(-1, 1, 1, 1, 1, 1)
        self.convs = nn.ModuleList()
        for share in range(self.shared):
            conv = nn.Conv2d(4 * channels, 4 * channels, 3, padding=1, groups=4 * channels, bias=share == 0)
            fill(conv, kernels[:, share].transpose(0, 1).flatten(0, 1), shift.repeat(4) if share == 0 else None)
            self.convs.append(conv)

    def forward(self, x: Tensor) -> Tensor:
        blocks = [x]
        if self.shared > 1:
            blocks = [channels_of(x, i * self.channels, (i + 1) * self.channels) for i in range(self.shared)]
        phases = [conv(torch.cat([block] * 4, dim=1)) for conv, block in zip(self.convs, blocks)]
        total = phases[0]
        for more in phases[1:]:
            total = total + more
        return depth_to_space(torch.relu(total))


class Context(nn.Module):
    """A :class:`GlobalContext` whose LayerNorm is an L2 normalisation.

    The mean is taken out of the first convolution's weights. A last channel, the constant ``√(h·ε)``, makes the squared
    length ``h · (variance + ε)``, so the result is exact.
    """

    def __init__(self, block: GlobalContext) -> None:
        super().__init__()
        first, norm, _, self.last = block.channel_add_conv
        assert isinstance(first, nn.Conv2d) and isinstance(norm, nn.LayerNorm) and first.bias is not None
        hidden = first.out_channels
        self.mask = block.conv_mask
        self.squeeze = nn.Conv2d(first.in_channels, hidden + 1, 1)
        weight = first.weight - first.weight.mean(0, keepdim=True)
        length = torch.tensor([math.sqrt(hidden * norm.eps)])
        fill(self.squeeze, torch.cat([weight, weight[:1] * 0]), torch.cat([first.bias - first.bias.mean(), length]))
        self.scale = nn.Conv2d(hidden + 1, hidden, 1)
        diagonal = torch.eye(hidden, hidden + 1) * norm.weight.view(hidden, 1) * math.sqrt(hidden)
        fill(self.scale, diagonal[:, :, None, None], norm.bias.flatten())

    def forward(self, x: Tensor) -> Tensor:
        """(1, C, H, W): the batch is in the shapes."""
        logits = self.mask(x)
        mask = logits.reshape(1, -1, 1, 1).softmax(dim=1).reshape(1, 1, *x.shape[2:])
        context = (x * mask).sum(dim=(2, 3), keepdim=True)
        normalized = l2_normalized(self.squeeze(context))
        return x + cast(Tensor, self.last(torch.relu(self.scale(normalized))))


def attention_lost(network: nn.Module, pictures: Tensor) -> float:
    """Largest share of a :class:`GlobalContext` block's attention that INT8 rounds to zero.

    The integer softmax has steps of 1/256, so attention spread over many hundreds of pixels vanishes.

    Args:
        network: in evaluation mode; takes normalised pictures.
        pictures: (N, 3, H, W), normalised.
    """
    shares = [0.0]

    def observe(block: GlobalContext, inputs: tuple[Tensor, ...]) -> None:
        attention = block.conv_mask(inputs[0]).flatten(1).softmax(dim=1)
        shares.append(float(attention[attention < HALF_A_STEP].sum()) / len(attention))

    blocks = [module for module in network.modules() if isinstance(module, GlobalContext)]
    hooks = [block.register_forward_pre_hook(observe) for block in blocks]
    try:
        with torch.no_grad():
            if blocks:
                network(pictures)
    finally:
        for hook in hooks:
            hook.remove()
    return max(shares)


class Pyramid(nn.Module):
    """A :class:`PyramidPooling` that enlarges by constant factors, where the exporter would compute sizes."""

    def __init__(self, pyramid: PyramidPooling) -> None:
        super().__init__()
        self.branches = pyramid.branches

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for branch in self.branches:
            pooled = branch(x)
            factor = [int(side) / int(small) for side, small in zip(x.shape[2:], pooled.shape[2:])]
            maps.append(F.interpolate(pooled, scale_factor=factor, mode="bilinear", align_corners=False))
        return torch.cat(maps, dim=1)


class SeparateScales(nn.Module):
    """An :class:`EfficientHRNet` whose upsampling reads its map and its coarse output one by one, and adds.

    Read side by side, as one map, they would share one integer scale: that of the map, far too wide for heatmaps.
    """

    def __init__(self, network: EfficientHRNet) -> None:
        super().__init__()
        self.network = network
        self.coarse, self.head = network.final_layers
        first, *refine = cast(nn.Sequential, network.deconv_layers[0])
        layer, norm, _ = cast(nn.Sequential, first)
        assert isinstance(layer, nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d)
        scale, shift = affine_of(norm)
        width = cast(nn.Conv2d, self.coarse).in_channels
        self.of_map = nn.ConvTranspose2d(width, layer.out_channels, 4, stride=2, padding=1)
        self.of_coarse = nn.ConvTranspose2d(layer.in_channels - width, layer.out_channels, 4, 2, 1, bias=False)
        weight = layer.weight * scale.view(1, -1, 1, 1)
        fill(self.of_map, weight[:width], shift)
        fill(self.of_coarse, weight[width:], None)
        self.refine = nn.Sequential(*refine)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        finest = self.network.finest(x)
        coarse = self.coarse(finest)
        upsampled = torch.relu(self.of_map(finest) + self.of_coarse(coarse))
        return coarse, self.head(self.refine(upsampled))


class IntegerPReLU(nn.Module):
    """PReLU as ``x + relu((slope - 1) · x)``: a product with its ReLU and a sum, which XNNPACK runs in integers.

    A channel whose slope is above 1 needs the sign of both changed.
    """

    def __init__(self, layer: nn.PReLU) -> None:
        super().__init__()
        inner = (layer.weight - 1).view(1, -1, 1, 1)
        self.inner: Tensor
        self.sign: Tensor | None
        self.register_buffer("inner", -inner.abs())
        self.register_buffer("sign", None if (inner <= 0).all() else torch.where(inner <= 0, 1.0, -1.0))

    def forward(self, x: Tensor) -> Tensor:
        if self.sign is None:
            return x + torch.relu(x * self.inner)
        return x + torch.relu(x * self.inner) * self.sign


class SixfoldHardSwish(nn.Module):
    """``x · relu6(x + 3)``, six times hard swish: a sum and a product, which XNNPACK runs in integers."""

    def forward(self, x: Tensor) -> Tensor:
        return x * F.relu6(x + 3.0)


def affine_of(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift a channel of a BatchNorm in evaluation mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def fill(conv: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, bias: Tensor | None) -> None:
    conv.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    conv.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
